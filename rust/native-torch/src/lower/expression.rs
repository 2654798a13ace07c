//! Nonlinear expressions as a tape: postfix codes over a stack of numbers.

use super::VarId;
use crate::{Error, Result};

/// What one place of a tape does to the stack. The numbers of the codes are part of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// Pushes a constant; the argument is its position in [`Definitions::constants`].
    Constant = 0,
    /// Pushes a variable's value; the argument is the variable.
    Variable = 1,
    /// `a + b + ..`; the argument of this and all that follow is the number of operands.
    Add = 2,
    /// `a - b`.
    Sub = 3,
    /// `a b ..`.
    Mul = 4,
    /// `a / b`.
    Div = 5,
    /// `a ^ b`.
    Pow = 6,
    /// `-a`.
    Neg = 7,
    /// The exponential.
    Exp = 8,
    /// The natural logarithm.
    Log = 9,
    /// `log(1 + a)`.
    Log1p = 10,
    /// The square root.
    Sqrt = 11,
    /// The hyperbolic tangent.
    Tanh = 12,
    /// The error function.
    Erf = 13,
    /// The magnitude.
    Abs = 14,
    /// The largest operand.
    Max = 15,
    /// The smallest operand.
    Min = 16,
    /// `b` where `a` is not 0, else `c`.
    IfElse = 17,
    /// 1 where `a > b`, else 0.
    Greater = 18,
    /// Pushes the value of an expression; the argument is its number in [`Formulation::expressions`], below that of the
    /// expression that it stands in.
    ///
    /// [`Formulation::expressions`]: super::Formulation::expressions
    Expression = 19,
    /// The sine.
    Sin = 20,
    /// The inverse tangent.
    Atan = 21,
}

/// How many operands a code may have.
#[derive(Clone, Copy)]
enum Arity {
    Leaf,
    Exactly(u32),
    Any,
}

impl Opcode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Opcode; 22] = [
        Opcode::Constant,
        Opcode::Variable,
        Opcode::Add,
        Opcode::Sub,
        Opcode::Mul,
        Opcode::Div,
        Opcode::Pow,
        Opcode::Neg,
        Opcode::Exp,
        Opcode::Log,
        Opcode::Log1p,
        Opcode::Sqrt,
        Opcode::Tanh,
        Opcode::Erf,
        Opcode::Abs,
        Opcode::Max,
        Opcode::Min,
        Opcode::IfElse,
        Opcode::Greater,
        Opcode::Expression,
        Opcode::Sin,
        Opcode::Atan,
    ];

    /// The name that MathOptInterface's nonlinear functions give it; none for the leaves.
    pub fn name(self) -> &'static str {
        match self {
            Opcode::Constant | Opcode::Variable | Opcode::Expression => "",
            Opcode::Add => "+",
            Opcode::Sub | Opcode::Neg => "-",
            Opcode::Mul => "*",
            Opcode::Div => "/",
            Opcode::Pow => "^",
            Opcode::Exp => "exp",
            Opcode::Log => "log",
            Opcode::Log1p => "log1p",
            Opcode::Sqrt => "sqrt",
            Opcode::Tanh => "tanh",
            Opcode::Erf => "erf",
            Opcode::Sin => "sin",
            Opcode::Atan => "atan",
            Opcode::Abs => "abs",
            Opcode::Max => "max",
            Opcode::Min => "min",
            Opcode::IfElse => "ifelse",
            Opcode::Greater => ">",
        }
    }

    fn arity(self) -> Arity {
        match self {
            Opcode::Constant | Opcode::Variable | Opcode::Expression => Arity::Leaf,
            Opcode::Add | Opcode::Mul | Opcode::Max | Opcode::Min => Arity::Any,
            Opcode::Sub | Opcode::Div | Opcode::Pow | Opcode::Greater => Arity::Exactly(2),
            Opcode::IfElse => Arity::Exactly(3),
            Opcode::Neg
            | Opcode::Exp
            | Opcode::Log
            | Opcode::Log1p
            | Opcode::Sqrt
            | Opcode::Tanh
            | Opcode::Erf
            | Opcode::Sin
            | Opcode::Atan
            | Opcode::Abs => Arity::Exactly(1),
        }
    }

    fn apply(self, args: &[f64]) -> f64 {
        match self {
            Opcode::Constant | Opcode::Variable | Opcode::Expression => f64::NAN,
            Opcode::Add => args.iter().sum(),
            Opcode::Sub => args[0] - args[1],
            Opcode::Mul => args.iter().product(),
            Opcode::Div => args[0] / args[1],
            Opcode::Pow => libm::pow(args[0], args[1]),
            Opcode::Neg => -args[0],
            Opcode::Exp => libm::exp(args[0]),
            Opcode::Log => libm::log(args[0]),
            Opcode::Log1p => libm::log1p(args[0]),
            Opcode::Sqrt => args[0].sqrt(),
            Opcode::Tanh => libm::tanh(args[0]),
            Opcode::Erf => libm::erf(args[0]),
            Opcode::Sin => libm::sin(args[0]),
            Opcode::Atan => libm::atan(args[0]),
            Opcode::Abs => args[0].abs(),
            Opcode::Max => args.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Opcode::Min => args.iter().copied().fold(f64::INFINITY, f64::min),
            Opcode::IfElse => {
                if args[0] != 0.0 {
                    args[1]
                } else {
                    args[2]
                }
            }
            Opcode::Greater => f64::from(args[0] > args[1]),
        }
    }
}

/// An expression under construction, written as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A number.
    Constant(f64),
    /// A variable.
    Variable(VarId),
    /// The expression of this number among those of a formulation.
    Shared(u32),
    /// An operation on others.
    Call(Opcode, Vec<Expression>),
}

impl Expression {
    /// An operation on others.
    pub fn call(opcode: Opcode, args: impl Into<Vec<Expression>>) -> Self {
        Expression::Call(opcode, args.into())
    }
}

impl From<f64> for Expression {
    fn from(value: f64) -> Self {
        Expression::Constant(value)
    }
}

/// Expressions as flat arrays: expression `i` is the part `starts[i] .. starts[i + 1]`.
#[derive(Clone, Debug)]
pub struct Tapes {
    /// Where each expression begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The codes, postfix.
    pub opcode: Vec<Opcode>,
    /// Their arguments, as [`Opcode`] says.
    pub argument: Vec<u32>,
    /// The constants of all expressions.
    pub constants: Vec<f64>,
    /// The graph's node of each expression, or [`NO_NODE`](super::NO_NODE).
    pub node: Vec<u32>,
}

impl Default for Tapes {
    fn default() -> Self {
        Self { starts: vec![0], opcode: Vec::new(), argument: Vec::new(), constants: Vec::new(), node: Vec::new() }
    }
}

/// How a variable relates to an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Relation {
    /// `variable == expression`.
    Equal = 0,
    /// `variable >= expression`.
    AtLeast = 1,
    /// `variable <= expression`.
    AtMost = 2,
}

impl Relation {
    /// The sign between the two.
    pub fn sign(self) -> &'static str {
        match self {
            Relation::Equal => "==",
            Relation::AtLeast => ">=",
            Relation::AtMost => "<=",
        }
    }
}

/// Nonlinear equations `variable == expression`, and inequalities.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// The variable on the left of each.
    pub variable: Vec<VarId>,
    /// The sign of each.
    pub relation: Vec<Relation>,
    /// The expression on the right of each.
    pub tapes: Tapes,
}

impl Definitions {
    /// The number of equations and inequalities.
    pub fn len(&self) -> usize {
        self.variable.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.variable.is_empty()
    }

    /// Appends one; an error, and no change, if a code has a wrong number of operands.
    pub(super) fn push(
        &mut self,
        variable: VarId,
        relation: Relation,
        expression: &Expression,
        node: u32,
    ) -> Result<()> {
        self.tapes.push(expression, node)?;
        self.variable.push(variable);
        self.relation.push(relation);
        Ok(())
    }
}

impl Tapes {
    /// The number of expressions.
    pub fn len(&self) -> usize {
        self.node.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.node.is_empty()
    }

    /// Appends an expression; an error, and no change, if a code has a wrong number of operands.
    pub(super) fn push(&mut self, expression: &Expression, node: u32) -> Result<()> {
        let (codes, constants) = (self.opcode.len(), self.constants.len());
        if let Err(error) = self.write(expression) {
            self.opcode.truncate(codes);
            self.argument.truncate(codes);
            self.constants.truncate(constants);
            return Err(error);
        }
        self.starts.push(self.opcode.len());
        self.node.push(node);
        Ok(())
    }

    /// Writes a tree in postfix order, with a stack of its own.
    fn write(&mut self, expression: &Expression) -> Result<()> {
        enum Step<'a> {
            Enter(&'a Expression),
            Leave(Opcode, u32),
        }
        let mut steps = vec![Step::Enter(expression)];
        while let Some(step) = steps.pop() {
            let (opcode, argument) = match step {
                Step::Enter(Expression::Constant(value)) => {
                    self.constants.push(*value);
                    (Opcode::Constant, u32::try_from(self.constants.len() - 1).unwrap_or(u32::MAX))
                }
                Step::Enter(Expression::Variable(variable)) => (Opcode::Variable, variable.0),
                Step::Enter(Expression::Shared(number)) => (Opcode::Expression, *number),
                Step::Enter(Expression::Call(opcode, args)) => {
                    let count = u32::try_from(args.len()).unwrap_or(0);
                    let fits = match opcode.arity() {
                        Arity::Leaf => false,
                        Arity::Exactly(n) => n == count,
                        Arity::Any => count > 0,
                    };
                    if !fits {
                        return Err(Error::argument(format!("{opcode:?} of {} operands", args.len())));
                    }
                    steps.push(Step::Leave(*opcode, count));
                    steps.extend(args.iter().rev().map(Step::Enter));
                    continue;
                }
                Step::Leave(opcode, count) => (opcode, count),
            };
            self.opcode.push(opcode);
            self.argument.push(argument);
        }
        Ok(())
    }

    /// The value of expression `i` where the variables and the expressions that it refers to have these values.
    pub fn evaluate(&self, i: usize, values: &[f64], expressions: &[f64]) -> f64 {
        let mut stack: Vec<f64> = Vec::new();
        for at in self.starts[i]..self.starts[i + 1] {
            let argument = self.argument[at] as usize;
            let value = match self.opcode[at] {
                Opcode::Constant => self.constants[argument],
                Opcode::Variable => values[argument],
                Opcode::Expression => expressions[argument],
                opcode => {
                    let args = stack.split_off(stack.len() - argument);
                    opcode.apply(&args)
                }
            };
            stack.push(value);
        }
        stack.pop().unwrap_or(f64::NAN)
    }

    /// Expression `i` as text: infix, with as many parentheses as it needs.
    pub(super) fn format(&self, i: usize, name: impl Fn(VarId) -> String) -> String {
        const ATOM: u8 = 4;
        let mut stack: Vec<(String, u8)> = Vec::new();
        for at in self.starts[i]..self.starts[i + 1] {
            let argument = self.argument[at];
            let opcode = self.opcode[at];
            let item = match opcode {
                Opcode::Constant => {
                    let value = self.constants[argument as usize];
                    (super::display::number(value), if value < 0.0 { 1 } else { ATOM })
                }
                Opcode::Variable => (name(VarId(argument)), ATOM),
                Opcode::Expression => (format!("e[{argument}]"), ATOM),
                _ => {
                    let args = stack.split_off(stack.len() - argument as usize);
                    let (level, separator) = match opcode {
                        Opcode::Greater => (0, " > "),
                        Opcode::Add => (1, " + "),
                        Opcode::Sub => (1, " - "),
                        Opcode::Mul => (2, " * "),
                        Opcode::Div => (2, " / "),
                        Opcode::Pow => (3, "^"),
                        _ => (ATOM, ", "),
                    };
                    let tight = matches!(opcode, Opcode::Sub | Opcode::Div | Opcode::Pow);
                    // `-2 x`, but `(a + b) x`.
                    let negative = |k: usize, text: &str| k == 0 && text.starts_with('-') && !text.contains(' ');
                    let show = |(k, (text, inner)): (usize, &(String, u8))| {
                        let bare = level == ATOM
                            || *inner > level
                            || (*inner == level && !(tight && k > 0))
                            || (opcode == Opcode::Mul && negative(k, text));
                        if bare { text.clone() } else { format!("({text})") }
                    };
                    let parts: Vec<String> = args.iter().enumerate().map(show).collect();
                    match (opcode, level) {
                        (Opcode::Neg, _) => {
                            let bare = args[0].1 > 1;
                            (if bare { format!("-{}", parts[0]) } else { format!("-({})", parts[0]) }, 1)
                        }
                        (Opcode::Add, _) => {
                            let mut sum = parts[0].clone();
                            for part in &parts[1..] {
                                match part.strip_prefix('-') {
                                    Some(rest) => sum.extend([" - ", rest]),
                                    None => sum.extend([" + ", part]),
                                }
                            }
                            (sum, level)
                        }
                        (_, ATOM) => (format!("{}({})", opcode.name(), parts.join(separator)), ATOM),
                        // A sign in front binds like a sum.
                        (Opcode::Mul, _) if parts[0].starts_with('-') => (parts.join(separator), 1),
                        _ => (parts.join(separator), level),
                    }
                }
            };
            stack.push(item);
        }
        stack.pop().map_or_else(String::new, |(text, _)| text)
    }
}

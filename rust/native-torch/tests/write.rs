//! Files of formulations, read by programs that others wrote: GLPK, CBC, CLP and Ipopt solve them, AMPL's library evaluates
//! them.

mod common;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{Random, graph, linear, mlp};
use native_torch::{
    bounds::{Interval, propagate},
    graph::{GeluKind, Graph, MaxPool, Op, Unary},
    lower::{Domain, Expression, Formulation, Objective, Opcode, Relation, Sense, VarId, lower},
    solve::{self, Problem, Status, solve, with_objective},
    write::{Format, document, legal, original, to_file},
};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("write").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether a program can be started; what is skipped without it is reported past the test harness.
fn there(program: &str, package: &str) -> bool {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    if !found {
        let _ = writeln!(std::io::stdout(), "skipped: files through {program}: it is not there (apt: {package})");
    }
    found
}

/// What a program prints.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The number behind a heading.
fn number_after(text: &str, heading: &str) -> f64 {
    let rest = text.split_once(heading).unwrap_or_else(|| panic!("no `{heading}` in:\n{text}")).1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// The optimum that GLPK finds.
fn glpk(path: &Path) -> f64 {
    let format = if path.extension().unwrap() == "mps" { "--freemps" } else { "--lp" };
    let solution = path.with_extension("glpk.txt");
    let text = printed("glpsol", &[format, path.to_str().unwrap(), "-o", solution.to_str().unwrap()]);
    let text = fs::read_to_string(solution).unwrap_or_else(|_| panic!("{text}"));
    assert!(text.contains("OPTIMAL"), "{text}");
    number_after(&text, "obj =")
}

/// The optimum that CBC finds. Its preprocessing is wrong about SOS1 sets.
fn cbc(path: &Path) -> f64 {
    let text = printed("cbc", &[path.to_str().unwrap(), "-preprocess", "off", "solve"]);
    assert!(text.contains("Optimal"), "{text}");
    number_after(&text, "bjective value:")
}

/// The optimum of the linear relaxation that CLP finds.
fn clp(path: &Path) -> f64 {
    let text = printed("clp", &[path.to_str().unwrap(), "-dualsimplex"]);
    assert!(text.contains("Optimal"), "{text}");
    number_after(&text, "bjective value")
}

fn pool_net() -> Graph {
    graph(&[1, 4], |b, random, x| {
        let h = linear(b, random, x, 8, true);
        let pool = MaxPool { kernel: vec![4], stride: vec![4], padding: vec![0], dilation: vec![1], ceil_mode: false };
        let h = b.node(Op::MaxPool(pool), &[h]).unwrap();
        linear(b, random, h, 1, true)
    })
}

/// Networks of what is piecewise linear.
fn piecewise() -> Vec<(&'static str, Graph)> {
    vec![
        ("relu", mlp(&[3, 6, 5, 2], Unary::Relu)),
        ("leaky_relu", mlp(&[3, 6, 2], Unary::LeakyRelu { slope: 0.1 })),
        ("hardtanh", mlp(&[3, 6, 2], Unary::Hardtanh { min: -1.0, max: 0.5 })),
        ("max_pool", pool_net()),
    ]
}

const OBJECTIVES: [&str; 3] =
    ["minimize y[0]", "maximize y[0] + 0.5 * x[1] - 2.5", "maximize 1 - abs(y[0]) - max(x[0], x[1])"];

fn formulate(graph: &Graph, options: &str) -> Formulation {
    let n = graph.inputs().iter().map(|input| graph.numel(input.value)).sum();
    let bounds = propagate(graph, &vec![Interval::new(-0.6, 0.7); n]).unwrap();
    lower(graph, &bounds, &options.parse().unwrap()).unwrap()
}

/// The optimum as this library finds it.
fn optimum(model: &Formulation, objective: &Objective, relaxed: bool) -> f64 {
    let solution = solve(model, objective, &solve::Options { relaxed, ..Default::default() }).unwrap();
    assert_eq!(solution.status, Status::Optimal);
    solution.objective.unwrap()
}

/// Writes both formats that solvers of linear programs read, and compares what they find.
fn compare(name: &str, model: &Formulation, objective: &Objective, expected: f64, solve: impl Fn(&Path) -> f64) {
    for format in [Format::Mps, Format::Lp] {
        let path = folder(name).join(format!("model{}", format.extension()));
        assert_eq!(to_file(model, Some(objective), &path).unwrap().len(), 1);
        let negated = format == Format::Mps && objective.sense == Sense::Maximize;
        let found = if negated { -solve(&path) } else { solve(&path) };
        let tolerance = 1e-6 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= tolerance, "{}: {found}, not {expected}", path.display());
    }
}

#[test]
fn solvers_find_the_same_optimum_in_every_form() {
    let programs = [("glpsol", "glpk-utils"), ("cbc", "coinor-cbc"), ("clp", "coinor-clp")];
    let [glpk_there, cbc_there, clp_there] = programs.map(|(program, package)| there(program, package));
    for (name, graph) in piecewise() {
        let exact = formulate(&graph, "");
        for (k, text) in OBJECTIVES.iter().enumerate() {
            let (model, objective) = with_objective(&exact, text).unwrap();
            let expected = optimum(&model, &objective, false);
            for form in ["big_m", "partition(2)", "sos1"] {
                let formulation = formulate(&graph, &format!("relu={form}, max_pool={form}"));
                let (model, objective) = with_objective(&formulation, text).unwrap();
                if cbc_there {
                    compare(&format!("cbc-{name}-{form}-{k}"), &model, &objective, expected, cbc);
                }
                // GLPK knows no sets.
                if glpk_there && form != "sos1" {
                    compare(&format!("glpk-{name}-{form}-{k}"), &model, &objective, expected, glpk);
                }
                if clp_there && form == "big_m" {
                    // The relaxation, with the bounds alone instead of binaries.
                    let relaxed = relaxation(&model);
                    let expected = optimum(&model, &objective, true);
                    compare(&format!("clp-{name}-{k}"), &relaxed, &objective, expected, clp);
                }
            }
        }
    }
}

/// The formulation without integrality, made anew as a caller would.
fn relaxation(model: &Formulation) -> Formulation {
    let mut relaxed = Formulation::default();
    let block = relaxed.add_block("v");
    for i in 0..model.variables().len() {
        relaxed.add_variable(block, model.bounds(VarId(i as u32)), Domain::Continuous).unwrap();
    }
    let rows = model.rows();
    for i in 0..rows.len() {
        let terms: Vec<(VarId, f64)> = rows.row(i).collect();
        relaxed.add_row(rows.lower[i], &terms, rows.upper[i]).unwrap();
    }
    relaxed
}

#[test]
fn conditions_and_classes_are_part_of_the_file() {
    let classifier = mlp(&[3, 6, 4], Unary::Relu);
    let mut problem = Problem::new(&classifier, vec![Interval::new(-1.0, 1.0); 3]).unwrap();
    problem.set_x0(&[0.1, -0.2, 0.3]).unwrap();
    problem.set_margin(0.01).unwrap();
    problem.minimize("norm1(x - x0)").unwrap();
    let start = problem.solve(&solve::Options::default()).unwrap().y.unwrap();
    let label = (0..4).max_by(|&a, &b| start[a].total_cmp(&start[b])).unwrap();
    problem.subject_to(&format!("argmax(y) != {label}")).unwrap();
    problem.subject_to("x[0] + x[1] <= 0.5").unwrap();
    let expected = problem.solve(&solve::Options::default()).unwrap().objective.unwrap();
    assert!(expected > 0.01);
    let (model, objective) = problem.formulation().unwrap();
    assert!((optimum(&model, &objective, false) - expected).abs() < 1e-5);
    if there("glpsol", "glpk-utils") {
        compare("conditions", &model, &objective, expected, glpk);
    }
    // A fixed input and a class that is asked for.
    let other = (label + 1) % 4;
    let mut problem = Problem::new(&classifier, vec![Interval::new(-1.0, 1.0); 3]).unwrap();
    problem.fix(1, 0.25).unwrap();
    problem.maximize(&format!("y[{other}]")).unwrap();
    problem.subject_to(&format!("argmax(y) == {other}")).unwrap();
    problem.set_forms("relu=sos1".parse().unwrap());
    let answer = problem.solve(&solve::Options::default()).unwrap();
    let (model, objective) = problem.formulation().unwrap();
    assert!(!model.sos1().is_empty());
    if there("cbc", "coinor-cbc") {
        compare("class", &model, &objective, answer.objective.unwrap(), cbc);
    }
    // What cannot be is a row that cannot hold, in every format.
    problem.subject_to("1 <= 0").unwrap();
    let (model, _) = problem.formulation().unwrap();
    assert!(document(&model, None, Format::Lp).unwrap().text.contains(">= 1.0\n"));
}

/// What AMPL's library makes of an `.nl` file: the values of the objective and of the constraints at the start, and the
/// constraints' limits.
fn ampl(folder: &Path, model: &Formulation, objective: &Objective) -> Value {
    let path = folder.join("model.nl");
    let written = to_file(model, Some(objective), &path).unwrap();
    assert_eq!(written, [path.clone(), folder.join("model.col")]);
    let text = printed("gjh_asl_json", &[path.to_str().unwrap()]);
    let json = fs::read_to_string(folder.join("model.json")).unwrap_or_else(|_| panic!("{text}"));
    // Its infinite numbers are no JSON.
    serde_json::from_str(&json.replace("Infinity", "1e308")).unwrap_or_else(|error| panic!("{error}\n{json}"))
}

/// The constraints whose value is outside their limits, which are printed to six digits.
fn broken(read: &Value) -> Vec<String> {
    let limits = read["constraint bounds"].as_object().unwrap();
    let values = &read["initial evaluations"]["constraints"];
    let outside = |(name, limits): (&String, &Value)| {
        let value = values[name].as_f64().unwrap();
        let [lower, upper] = [0, 1].map(|k| limits[k].as_f64().unwrap());
        let slack = |limit: f64| 1e-5 * limit.abs().max(1.0);
        let inside = lower - slack(lower) <= value && value <= upper + slack(upper);
        (!inside).then(|| name.clone())
    };
    limits.iter().filter_map(outside).collect()
}

#[test]
fn ampl_evaluates_the_same_rows() {
    if !there("gjh_asl_json", "gjh-asl-json") {
        return;
    }
    let smooth = [
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Mish,
        Unary::Gelu(GeluKind::Tanh),
        Unary::Elu { alpha: 1.3, scale: 1.0 },
        Unary::Softplus { beta: 2.0, threshold: 20.0 },
        Unary::LogSigmoid,
        Unary::Hardswish,
    ];
    let mut nets: Vec<(String, Graph)> =
        smooth.into_iter().map(|unary| (unary.name().to_owned(), mlp(&[3, 5, 2], unary))).collect();
    nets.extend(piecewise().into_iter().map(|(name, graph)| (name.to_owned(), graph)));
    let softmax = graph(&[3], |b, random, x| {
        let h = linear(b, random, x, 4, true);
        b.node(Op::Softmax { dim: 0 }, &[h]).unwrap()
    });
    let norm = graph(&[3], |b, random, x| {
        let h = linear(b, random, x, 4, true);
        b.node(Op::LayerNorm { axes: 1, eps: 1e-5 }, &[h]).unwrap()
    });
    nets.extend([("softmax".to_owned(), softmax), ("layer_norm".to_owned(), norm)]);
    let mut random = Random(3);
    for (name, graph) in nets {
        let piecewise = "big_m nonlinear quadratic quadratic(0.01) partition(2) epigraph complementarity";
        let has_choice = ["relu", "leaky_relu", "hardtanh", "max_pool"].contains(&&*name);
        let mut options = vec!["relu=nonlinear, max_pool=nonlinear".to_owned(), "space=reduced".to_owned()];
        if has_choice {
            options.extend(
                piecewise
                    .split(' ')
                    .filter(|form| *form != "epigraph" || name == "relu")
                    .map(|form| format!("relu={form}, max_pool={form}")),
            );
        }
        for (k, options) in options.iter().enumerate() {
            let (mut model, objective) =
                with_objective(&formulate(&graph, options), "maximize 2 * y[0] - x[1] + 3").unwrap();
            let x: Vec<f64> = random.vector(model.inputs().len()).iter().map(|t| 0.05 + 0.6 * t).collect();
            model.set_start(&x).unwrap();
            let values = model.evaluate(&x).unwrap();
            let folder = folder(&format!("ampl-{name}-{k}"));
            let read = ampl(&folder, &model, &objective);
            let found = read["initial evaluations"]["objective function"]["0"]["value"].as_f64().unwrap();
            assert!((found - objective.value(&values)).abs() < 1e-9, "{name} {options}: {found}");
            assert_eq!(broken(&read), Vec::<String>::new(), "{name} {options}");
            let names = fs::read_to_string(folder.join("model.col")).unwrap();
            assert_eq!(names.lines().count(), model.variables().len());
            // The constraints are those of the network: another output breaks one.
            let y = model.outputs()[0];
            model.set_start_value(y, values[y.index()] + 0.01);
            assert!(!broken(&ampl(&folder, &model, &objective)).is_empty(), "{name} {options}");
        }
    }
}

/// The program that solves `.nl` files with Debian's Ipopt, built of its source; `None` where what it needs is missing.
fn ipopt() -> Option<PathBuf> {
    let headers =
        ["coin/IpStdCInterface.h", "ampl-netlib-solvers/asl_pfgh.h"].map(|h| Path::new("/usr/include").join(h));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/nl/ipopt.c");
    let program = folder("ipopt").join("ipopt");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu99", "-O1", "-I/usr/include/coin", "-I/usr/include/ampl-netlib-solvers"]);
    compiler.arg(source).arg("-o").arg(&program).args(["-lamplsolver", "-lipopt", "-lm"]);
    if headers.iter().any(|header| !header.exists()) {
        let _ = writeln!(
            std::io::stdout(),
            "skipped: .nl files through Ipopt: it is not there (apt: coinor-libipopt-dev, libamplsolver-dev)"
        );
        return None;
    }
    let built = compiler.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

#[test]
fn ipopt_solves_nl_files() {
    let Some(program) = ipopt() else { return };
    let solved = |folder: &str, model: &Formulation, objective: &Objective| -> (f64, Vec<f64>) {
        let path = self::folder(folder).join("model.nl");
        to_file(model, Some(objective), &path).unwrap();
        let text = printed(program.to_str().unwrap(), &[path.to_str().unwrap()]);
        assert!(text.contains("status 0\n"), "{folder}: {text}");
        // The names are in the order of the values.
        let names = fs::read_to_string(path.with_extension("col")).unwrap();
        let found: Vec<f64> = text
            .lines()
            .skip_while(|line| !line.starts_with("objective"))
            .skip(1)
            .map(|v| v.parse().unwrap())
            .collect();
        let value = |v: usize| {
            names.lines().position(|name| name == model.name(VarId(v as u32))).map_or(f64::NAN, |k| found[k])
        };
        (number_after(&text, "objective"), (0..model.variables().len()).map(value).collect())
    };
    let smooth = [
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Gelu(GeluKind::Tanh),
        Unary::Softplus { beta: 2.0, threshold: 20.0 },
    ];
    let mut random = Random(17);
    for unary in smooth {
        let graph = mlp(&[3, 5, 2], unary);
        for space in ["full", "reduced"] {
            let name = format!("ipopt-{}-{space}", unary.name());
            let formulation = formulate(&graph, &format!("space={space}"));
            let (model, objective) = with_objective(&formulation, "maximize 2 * y[0] - x[1] + 3").unwrap();
            // At a point, the objective is the network's.
            let x: Vec<f64> = random.vector(3).iter().map(|t| 0.5 * t).collect();
            let mut fixed = model.clone();
            for (&v, &x) in model.inputs().iter().zip(&x) {
                fixed.restrict(v, Interval::point(x)).unwrap();
            }
            let expected = objective.value(&model.evaluate(&x).unwrap());
            let (found, _) = solved(&format!("{name}-point"), &fixed, &objective);
            assert!((found - expected).abs() < 1e-6, "{name}: {found} is not {expected}");
            // Over the box, it is the network's at the point that is found, and no worse than at others nearby.
            let (best, values) = solved(&name, &model, &objective);
            let at: Vec<f64> = model.inputs().iter().map(|v| values[v.index()]).collect();
            let own = objective.value(&model.evaluate(&at).unwrap());
            assert!((best - own).abs() < 1e-6, "{name}: {best} is not {own}");
            for _ in 0..100 {
                let near: Vec<f64> = model
                    .inputs()
                    .iter()
                    .zip(at.iter().zip(random.vector(3)))
                    .map(|(&v, (a, t))| (a + 0.01 * t).clamp(model.bounds(v).lower, model.bounds(v).upper))
                    .collect();
                assert!(objective.value(&model.evaluate(&near).unwrap()) < best + 1e-6, "{name}");
            }
        }
    }
}

/// The values of the functions in a MathOptFormat file, with the set of each.
struct Mof<'a> {
    values: &'a dyn Fn(&str) -> f64,
}

impl Mof<'_> {
    fn terms(&self, terms: &Value) -> f64 {
        let term =
            |term: &Value| term["coefficient"].as_f64().unwrap() * (self.values)(term["variable"].as_str().unwrap());
        terms.as_array().unwrap().iter().map(term).sum()
    }

    fn function(&self, function: &Value) -> Vec<f64> {
        match function["type"].as_str().unwrap() {
            "Variable" => vec![(self.values)(function["name"].as_str().unwrap())],
            "VectorOfVariables" => {
                function["variables"].as_array().unwrap().iter().map(|v| (self.values)(v.as_str().unwrap())).collect()
            }
            "ScalarAffineFunction" => vec![self.terms(&function["terms"]) + function["constant"].as_f64().unwrap()],
            "VectorAffineFunction" => {
                let constants = function["constants"].as_array().unwrap().iter();
                let mut sums: Vec<f64> = constants.map(|c| c.as_f64().unwrap()).collect();
                for term in function["terms"].as_array().unwrap() {
                    let one = Value::Array(vec![term["scalar_term"].clone()]);
                    sums[term["output_index"].as_u64().unwrap() as usize - 1] += self.terms(&one);
                }
                sums
            }
            "ScalarQuadraticFunction" => {
                let product = |term: &Value| {
                    let (a, b) = (term["variable_1"].as_str().unwrap(), term["variable_2"].as_str().unwrap());
                    let half = if a == b { 0.5 } else { 1.0 };
                    half * term["coefficient"].as_f64().unwrap() * (self.values)(a) * (self.values)(b)
                };
                let products: f64 = function["quadratic_terms"].as_array().unwrap().iter().map(product).sum();
                vec![self.terms(&function["affine_terms"]) + products + function["constant"].as_f64().unwrap()]
            }
            "ScalarNonlinearFunction" => {
                let mut nodes = Vec::new();
                for node in function["node_list"].as_array().unwrap() {
                    let args: Vec<f64> =
                        node["args"].as_array().unwrap().iter().map(|arg| self.argument(arg, &nodes)).collect();
                    nodes.push(apply(node["type"].as_str().unwrap(), &args));
                }
                vec![self.argument(&function["root"], &nodes)]
            }
            other => panic!("{other}"),
        }
    }

    fn argument(&self, argument: &Value, nodes: &[f64]) -> f64 {
        match argument {
            Value::Number(number) => number.as_f64().unwrap(),
            Value::String(name) => (self.values)(name),
            node => nodes[node["index"].as_u64().unwrap() as usize - 1],
        }
    }
}

fn apply(name: &str, args: &[f64]) -> f64 {
    match (name, args) {
        ("+", args) => args.iter().sum(),
        ("*", args) => args.iter().product(),
        ("-", [a]) => -a,
        ("-", [a, b]) => a - b,
        ("/", [a, b]) => a / b,
        ("^", [a, b]) => a.powf(*b),
        (">", [a, b]) => f64::from(a > b),
        ("ifelse", [test, a, b]) => {
            if *test == 1.0 {
                *a
            } else {
                *b
            }
        }
        ("max", args) => args.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ("min", args) => args.iter().copied().fold(f64::INFINITY, f64::min),
        ("exp", [a]) => a.exp(),
        ("log", [a]) => a.ln(),
        ("log1p", [a]) => a.ln_1p(),
        ("sqrt", [a]) => a.sqrt(),
        ("tanh", [a]) => a.tanh(),
        ("abs", [a]) => a.abs(),
        ("erf", [a]) => libm::erf(*a),
        other => panic!("{other:?}"),
    }
}

/// Whether values lie in a set, to 1e-7.
fn holds(set: &Value, values: &[f64]) -> bool {
    const SLACK: f64 = 1e-7;
    let limit = |name: &str| set[name].as_f64();
    match set["type"].as_str().unwrap() {
        "ZeroOne" => values[0] == 0.0 || values[0] == 1.0,
        "EqualTo" => (values[0] - limit("value").unwrap()).abs() <= SLACK,
        "LessThan" | "GreaterThan" | "Interval" => {
            let (lower, upper) = (limit("lower"), limit("upper"));
            assert!(lower.is_some() || upper.is_some());
            lower.is_none_or(|l| values[0] >= l - SLACK) && upper.is_none_or(|u| values[0] <= u + SLACK)
        }
        "SOS1" => {
            assert_eq!(set["weights"].as_array().unwrap().len(), values.len());
            values.iter().filter(|v| v.abs() > SLACK).count() <= 1
        }
        "Complements" => (values[0].abs() <= SLACK && values[1] >= -SLACK) || values[1].abs() <= SLACK,
        "Indicator" => {
            let active = f64::from(u8::from(set["activate_on"] == "one"));
            values[0] != active || holds(&set["set"], &values[1..])
        }
        "ExponentialCone" => values[1] > 0.0 && values[1] * (values[0] / values[1]).exp() <= values[2] + SLACK,
        other => panic!("{other}"),
    }
}

#[test]
fn math_opt_format_says_the_same() {
    let forms = "big_m nonlinear sos1 quadratic quadratic(0.01) complementarity indicator partition(2)";
    let mut cases: Vec<(Graph, String)> = Vec::new();
    for (_, graph) in piecewise() {
        cases.extend(forms.split(' ').map(|form| (graph.clone(), format!("relu={form}, max_pool={form}"))));
        cases.push((graph, "space=reduced".to_owned()));
    }
    let softplus = Unary::Softplus { beta: 2.0, threshold: 20.0 };
    cases.extend(["nonlinear", "epigraph", "cone"].map(|form| (mlp(&[3, 5, 2], softplus), format!("softplus={form}"))));
    for unary in [Unary::Gelu(GeluKind::Exact), Unary::Mish, Unary::Sigmoid] {
        cases.extend(["", "space=reduced"].map(|options| (mlp(&[3, 5, 2], unary), options.to_owned())));
    }
    let mut random = Random(8);
    for (graph, options) in &cases {
        let (mut model, objective) =
            with_objective(&formulate(graph, options), "maximize 2 * y[0] - x[1] + 3").unwrap();
        let x: Vec<f64> = random.vector(model.inputs().len()).iter().map(|t| 0.05 + 0.6 * t).collect();
        model.set_start(&x).unwrap();
        let values = model.evaluate(&x).unwrap();
        let file: Value = serde_json::from_str(&document(&model, Some(&objective), Format::Mof).unwrap().text).unwrap();
        assert_eq!((&file["version"]["major"], &file["version"]["minor"]), (&1.into(), &7.into()));
        let variables = file["variables"].as_array().unwrap();
        assert!(variables.iter().zip(&values).all(|(v, value)| v["primal_start"].as_f64() == Some(*value)));
        let check = |changed: Option<(&str, f64)>| {
            let lookup = |name: &str| match changed {
                Some((other, value)) if other == name => value,
                _ => values[variables.iter().position(|v| v["name"] == name).unwrap()],
            };
            let reader = Mof { values: &lookup };
            let constraints = file["constraints"].as_array().unwrap();
            let all = constraints.iter().all(|c| holds(&c["set"], &reader.function(&c["function"])));
            (all, reader.function(&file["objective"]["function"])[0])
        };
        assert_eq!(file["objective"]["sense"], "max");
        let (satisfied, value) = check(None);
        assert!(satisfied && (value - objective.value(&values)).abs() < 1e-9, "{options}\n{model}");
        let y = model.outputs()[0];
        let name = model.name(y);
        assert!(!check(Some((&name, values[y.index()] - 0.01))).0, "{options}");
    }
}

#[test]
fn what_a_format_does_not_hold_is_an_error_with_a_way_out() {
    let relu = mlp(&[3, 5, 2], Unary::Relu);
    let cases: [(&Graph, &str, Format, [&str; 2]); 8] = [
        (&relu, "relu=sos1", Format::Nl, [".nl holds no SOS1 sets", "choose the form big_m"]),
        (&relu, "relu=indicator", Format::Nl, [".nl holds no indicators", "choose the form big_m"]),
        (&relu, "relu=complementarity", Format::Mps, [".mps holds no complementarities", "choose the form big_m"]),
        (&relu, "relu=nonlinear", Format::Lp, [".lp holds no nonlinear equations", ".mof.json"]),
        (&relu, "space=reduced", Format::Mps, [".mps holds no expressions", "choose space=full"]),
        (&mlp(&[3, 5, 2], Unary::Tanh), "", Format::Mps, [".mps holds no nonlinear equations", ".nl or .mof.json"]),
        (
            &mlp(&[3, 5, 2], Unary::Softplus { beta: 1.0, threshold: 20.0 }),
            "softplus=cone",
            Format::Lp,
            [".lp holds no cones", "softplus=nonlinear"],
        ),
        (&mlp(&[3, 5, 2], Unary::Gelu(GeluKind::Exact)), "", Format::Nl, ["no error function", "write .mof.json"]),
    ];
    for (graph, options, format, words) in cases {
        let error = document(&formulate(graph, options), None, format).unwrap_err().to_string();
        assert!(words.iter().all(|words| error.contains(words)) && error.starts_with("operation"), "{error}");
    }
    let model = formulate(&relu, "");
    for (path, words) in [("model.txt", "names no format"), ("no/such/folder/model.lp", "no/such/folder/model.lp")] {
        let error = to_file(&model, None, Path::new(path)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    for (objective, words) in
        [("y[0]", "begins with `minimize "), ("minimize y[9]", "y[9]"), ("maximize y[0] * y[1]", "linear")]
    {
        let error = with_objective(&model, objective).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let beyond = Objective { sense: Sense::Minimize, terms: vec![(VarId(10_000), 1.0)], constant: 0.0 };
    assert!(document(&model, Some(&beyond), Format::Lp).is_err());
}

#[test]
fn names_are_legal_and_can_be_had_back() {
    for name in
        ["x[0]", "layer 0.conv_1.z[12]", "edge[3]", "E[0]", "1x[0]", "é ü[1]", "a(b)~%41[2]", "layer 0 #7.on[1]", ""]
    {
        let legal = legal(name);
        assert_eq!(original(&legal), name);
        assert!(legal.chars().all(|c| c.is_ascii_alphanumeric() || "._~()%".contains(c)), "{legal}");
        assert!(!legal.starts_with(|c: char| c.is_ascii_digit() || ".eE".contains(c)), "{legal}");
    }
    // Blocks of the caller's may share a name, and be of any length.
    let mut model = Formulation::default();
    for name in ["twice", "twice", &"long".repeat(100), "e e"] {
        let block = model.add_block(name);
        model.add_variable(block, Interval::new(-1.0, 1.0), Domain::Integer).unwrap();
    }
    let text = document(&model, None, Format::Lp).unwrap().text;
    let names: Vec<&str> = text.split("Generals\n").nth(1).unwrap().lines().take(4).map(str::trim).collect();
    assert_eq!(names, ["twice(0)", "twice(0)'", "v(2)", "%65~e(0)"]);
    if there("glpsol", "glpk-utils") {
        let objective =
            Objective { sense: Sense::Minimize, terms: vec![(VarId(3), 2.0), (VarId(0), 1.0)], constant: 0.5 };
        compare("names", &model, &objective, -2.5, glpk);
    }
}

#[test]
fn variables_of_every_form_have_names_of_their_own() {
    let forms = "big_m sos1 quadratic complementarity indicator partition(2) nonlinear pairwise";
    for (name, graph) in piecewise() {
        for form in forms.split(' ').filter(|form| *form != "pairwise" || name == "max_pool") {
            let options = if name == "max_pool" { format!("max_pool={form}") } else { format!("relu={form}") };
            let model = formulate(&graph, &options);
            let mut names: Vec<String> = (0..model.variables().len()).map(|i| model.name(VarId(i as u32))).collect();
            names.sort();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{name} {options}: {names:?}");
        }
    }
}

#[test]
fn every_kind_of_bound_and_row_is_read() {
    // An optimum for each kind: 12 variables with all bounds there are, rows with one side, two and none.
    let mut model = Formulation::default();
    let block = model.add_block("v");
    let bounds = [
        (f64::NEG_INFINITY, f64::INFINITY),
        (f64::NEG_INFINITY, -0.5),
        (-2.0, f64::INFINITY),
        (-2.0, -1.0),
        (0.75, 0.75),
        (0.0, f64::INFINITY),
    ];
    let mut variables = Vec::new();
    for domain in [Domain::Continuous, Domain::Integer] {
        for (lower, upper) in bounds {
            let fixed_whole = domain == Domain::Integer && lower == upper;
            let interval = if fixed_whole { Interval::point(1.0) } else { Interval::new(lower, upper) };
            variables.push(model.add_variable(block, interval, domain).unwrap());
        }
    }
    for (start, end, binary) in [(0.0, 1.0, true), (1.0, 1.0, true), (0.0, 0.0, true)] {
        let domain = if binary { Domain::Binary } else { Domain::Integer };
        variables.push(model.add_variable(block, Interval::new(start, end), domain).unwrap());
    }
    let terms: Vec<(VarId, f64)> = variables.iter().enumerate().map(|(k, &v)| (v, 1.0 + k as f64 / 8.0)).collect();
    model.add_row(-10.25, &terms, 12.5).unwrap();
    model.add_row(-3.5, &[(variables[0], 1.0), (variables[1], -1.0)], f64::INFINITY).unwrap();
    model.add_row(f64::NEG_INFINITY, &[(variables[6], 1.0), (variables[7], 0.5)], 3.25).unwrap();
    model.add_row(f64::NEG_INFINITY, &terms, f64::INFINITY).unwrap();
    model.add_row(-7.0, &[(variables[1], 1.0), (variables[7], 2.0)], f64::INFINITY).unwrap();
    model.add_row(0.25, &[(variables[2], 1.0), (variables[5], -1.0)], 0.25).unwrap();
    for sense in [Sense::Minimize, Sense::Maximize] {
        let objective = Objective { sense, terms: terms.clone(), constant: -100.0 };
        let expected = optimum(&model, &objective, false);
        if there("glpsol", "glpk-utils") {
            compare("bounds-glpk", &model, &objective, expected, glpk);
        }
        if there("cbc", "coinor-cbc") {
            compare("bounds-cbc", &model, &objective, expected, cbc);
        }
    }
}

#[test]
fn definitions_of_the_callers_may_refer_to_expressions() {
    let mut model = formulate(&mlp(&[3, 5, 2], Unary::Tanh), "space=reduced");
    let block = model.add_block("own");
    let v = model.add_variable(block, Interval::ALL, Domain::Continuous).unwrap();
    let double = Expression::call(Opcode::Mul, [2.0.into(), Expression::Shared(model.output_expressions()[0])]);
    model.add_definition(v, Relation::Equal, &double).unwrap();
    let mut values = model.evaluate(&[0.1, 0.2, 0.3]).unwrap();
    values[v.index()] = 2.0 * model.output_values(&values)[0];
    model.check(&values, 1e-9).unwrap();
    values[v.index()] += 0.01;
    assert!(model.check(&values, 1e-9).is_err());
}

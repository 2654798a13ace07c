//! Value, first and second derivative of every element-wise function, as one table.
//!
//! At kinks the derivative is torch's. Where torch has no second derivative, the closed form is meant.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

use crate::{
    graph::{GeluKind, Unary},
    tensor::Real,
};

/// A function of one element with its derivatives; `y` is its value at `x`.
pub trait Rule<T: Real>: Copy {
    /// Whether the second derivative is not zero everywhere.
    const CURVED: bool;
    /// f(x)
    fn value<const FMA: bool>(self, x: T) -> T;
    /// f'(x)
    fn first<const FMA: bool>(self, x: T, y: T) -> T;
    /// f''(x)
    fn second<const FMA: bool>(self, x: T, y: T) -> T;
}

macro_rules! rules {
    ($($name:ident $({ $($field:ident),* })?, curved: $curved:expr;
        |$self:ident, $x:ident, $y:ident| $value:expr; $first:expr; $second:expr)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $name<T> { $($($field: T,)*)? _t: std::marker::PhantomData<T> }

            impl<T: Real> Rule<T> for $name<T> {
                const CURVED: bool = $curved;
                #[inline(always)]
                fn value<const FMA: bool>($self, $x: T) -> T { $value }
                #[inline(always)]
                fn first<const FMA: bool>($self, $x: T, $y: T) -> T { $first }
                #[inline(always)]
                fn second<const FMA: bool>($self, $x: T, $y: T) -> T { $second }
            }
        )*
    };
}

rules! {
    Relu, curved: false;
        |self, _x, _y| if _x <= T::ZERO { T::ZERO } else { _x };
        if _x <= T::ZERO { T::ZERO } else { T::ONE };
        T::ZERO
    LeakyRelu { slope }, curved: false;
        |self, _x, _y| if _x > T::ZERO { _x } else { self.slope * _x };
        if _x > T::ZERO { T::ONE } else { self.slope };
        T::ZERO
    GeluExact, curved: true;
        |self, _x, _y| _x * phi(_x);
        phi(_x) + _x * density::<T, FMA>(_x);
        density::<T, FMA>(_x) * (c::<T>(2.0) - _x * _x)
    GeluTanh, curved: true;
        |self, _x, _y| half::<T>() * _x * (T::ONE + gelu_inner(_x)[0].tanh::<FMA>());
        {
            let [u, du, _] = gelu_inner(_x);
            let t = u.tanh::<FMA>();
            half::<T>() * (T::ONE + t + _x * (T::ONE - t * t) * du)
        };
        {
            let [u, du, ddu] = gelu_inner(_x);
            let t = u.tanh::<FMA>();
            (T::ONE - t * t) * (du + _x * (half::<T>() * ddu - t * du * du))
        }
    Sigmoid, curved: true;
        |self, _x, _y| _x.sigmoid::<FMA>();
        _y * (T::ONE - _y);
        _y * (T::ONE - _y) * (T::ONE - _y - _y)
    Tanh, curved: true;
        |self, _x, _y| _x.tanh::<FMA>();
        T::ONE - _y * _y;
        (_y * _y - T::ONE) * (_y + _y)
    Softplus { beta, threshold }, curved: true;
        |self, _x, _y| {
            let z = self.beta * _x;
            if z > self.threshold { _x } else { softplus::<T, FMA>(z) / self.beta }
        };
        if self.beta * _x > self.threshold { T::ONE } else { (self.beta * _x).sigmoid::<FMA>() };
        if self.beta * _x >= self.threshold {
            T::ZERO
        } else {
            let s = (self.beta * _x).sigmoid::<FMA>();
            self.beta * s * (T::ONE - s)
        }
}

/// Runs an expression with `$rule` bound to the [`Rule`] of a [`Unary`].
macro_rules! with_rule {
    ($unary:expr, $t:ty, $rule:ident => $body:expr) => {{
        let _t = std::marker::PhantomData::<$t>;
        match $unary {
            Unary::Relu => {
                let $rule = Relu { _t };
                $body
            }
            Unary::LeakyRelu { slope } => {
                let $rule = LeakyRelu { slope: c::<$t>(slope), _t };
                $body
            }
            Unary::Gelu(GeluKind::Exact) => {
                let $rule = GeluExact { _t };
                $body
            }
            Unary::Gelu(GeluKind::Tanh) => {
                let $rule = GeluTanh { _t };
                $body
            }
            Unary::Sigmoid => {
                let $rule = Sigmoid { _t };
                $body
            }
            Unary::Tanh => {
                let $rule = Tanh { _t };
                $body
            }
            Unary::Softplus { beta, threshold } => {
                let $rule = Softplus { beta: c::<$t>(beta), threshold: c::<$t>(threshold), _t };
                $body
            }
        }
    }};
}

/// What is done with a rule once the function is known.
pub trait Visitor<T: Real> {
    /// The result.
    type Output;
    /// Called with the function's rule.
    fn visit<R: Rule<T>>(self, rule: R) -> Self::Output;
}

/// Calls `visitor` with the rule of `unary`: one branch per call, none per element.
#[inline(always)]
pub fn visit<T: Real, V: Visitor<T>>(unary: Unary, visitor: V) -> V::Output {
    with_rule!(unary, T, rule => visitor.visit(rule))
}

/// Whether the function's second derivative is not zero everywhere.
pub fn is_curved(unary: Unary) -> bool {
    fn curved<R: Rule<f64>>(_: R) -> bool {
        R::CURVED
    }
    with_rule!(unary, f64, rule => curved(rule))
}

/// f(x), f'(x) and f''(x) in double precision.
pub fn at(unary: Unary, x: f64) -> [f64; 3] {
    with_rule!(unary, f64, rule => {
        let y = rule.value::<false>(x);
        [y, rule.first::<false>(x, y), rule.second::<false>(x, y)]
    })
}

#[inline(always)]
fn c<T: Real>(value: f64) -> T {
    T::from_f64(value)
}

#[inline(always)]
fn half<T: Real>() -> T {
    c(0.5)
}

/// The normal distribution function.
#[inline(always)]
fn phi<T: Real>(x: T) -> T {
    half::<T>() * (T::ONE + (x * c(FRAC_1_SQRT_2)).erf())
}

/// The normal density.
#[inline(always)]
fn density<T: Real, const FMA: bool>(x: T) -> T {
    (-half::<T>() * x * x).exp::<FMA>() * c(1.0 / (2.0 * PI).sqrt())
}

/// The argument of the tanh in GELU's approximation, with its derivatives.
#[inline(always)]
fn gelu_inner<T: Real>(x: T) -> [T; 3] {
    let k = c::<T>(FRAC_2_PI.sqrt());
    let a = c::<T>(0.044715);
    let aax = a * x * x;
    [k * x * (T::ONE + aax), k * (T::ONE + c::<T>(3.0) * aax), c::<T>(6.0) * k * a * x]
}

/// `log(1 + exp(z))` without overflow.
#[inline(always)]
fn softplus<T: Real, const FMA: bool>(z: T) -> T {
    let positive = if z < T::ZERO { T::ZERO } else { z };
    positive + (-z.abs()).exp::<FMA>().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_central_differences() {
        let all = [
            Unary::Relu,
            Unary::LeakyRelu { slope: -0.3 },
            Unary::Gelu(GeluKind::Exact),
            Unary::Gelu(GeluKind::Tanh),
            Unary::Sigmoid,
            Unary::Tanh,
            Unary::Softplus { beta: 0.7, threshold: 2.0 },
        ];
        for unary in all {
            for i in -40..40 {
                let x = f64::from(i) * 0.1 + 0.05;
                let h = 1e-5;
                let ([a, da, _], [b, db, _]) = (at(unary, x - h), at(unary, x + h));
                let [_, first, second] = at(unary, x);
                assert!((first - (b - a) / (2.0 * h)).abs() < 1e-8, "{unary:?} at {x}: {first}");
                assert!((second - (db - da) / (2.0 * h)).abs() < 1e-8, "{unary:?} at {x}: {second}");
                assert!(is_curved(unary) || second == 0.0);
            }
        }
    }

    #[test]
    fn kinks_and_extremes_are_torchs() {
        assert_eq!(at(Unary::Relu, 0.0), [0.0, 0.0, 0.0]);
        assert!(at(Unary::Relu, f64::NAN)[0].is_nan());
        assert_eq!(at(Unary::LeakyRelu { slope: 0.2 }, 0.0)[1], 0.2);
        assert_eq!(at(Unary::Softplus { beta: 1.0, threshold: 20.0 }, 800.0), [800.0, 1.0, 0.0]);
        assert_eq!(at(Unary::Softplus { beta: 1.0, threshold: 1e4 }, 800.0)[0], 800.0);
        // Exactly at the threshold torch takes the smooth branch's f and f', but f'' = 0.
        let [_, first, second] = at(Unary::Softplus { beta: 1.0, threshold: 2.0 }, 2.0);
        assert!(first < 1.0 && second == 0.0);
        assert_eq!(at(Unary::Softplus { beta: 1.0, threshold: 20.0 }, -800.0), [0.0, 0.0, 0.0]);
    }
}

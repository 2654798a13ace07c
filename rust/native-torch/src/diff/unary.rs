//! Value, first and second derivative of every element-wise function, as one table.
//!
//! At kinks the derivative is torch's. Where torch has no second derivative, the closed form is meant.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, FRAC_2_SQRT_PI, PI};

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

/// What is done with a rule once the function is known.
pub trait Visitor<T: Real> {
    /// The result.
    type Output;
    /// Called with the function's rule.
    fn visit<R: Rule<T>>(self, rule: R) -> Self::Output;
}

/// For each function: its name and attributes, whether it is curved, and f, f' and f'' at `x`.
macro_rules! rules {
    ($(
        $name:ident ($pattern:pat) $({ $($field:ident: $attribute:expr),* })?, curved: $curved:expr,
        |$self:ident, $x:ident, $y:ident| {
            value: $value:expr,
            first: $first:expr,
            second: $second:expr $(,)?
        }
    )*) => {
        $(
            #[derive(Clone, Copy)]
            struct $name<T> { $($($field: T,)*)? _t: std::marker::PhantomData<T> }

            #[allow(unused_variables)]
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

        /// Calls `visitor` with the rule of `unary`: one branch per call, none per element.
        #[inline(always)]
        pub fn visit<T: Real, V: Visitor<T>>(unary: Unary, visitor: V) -> V::Output {
            let _t = std::marker::PhantomData::<T>;
            match unary {
                $($pattern => visitor.visit($name { $($($field: c::<T>($attribute),)*)? _t }),)*
            }
        }
    };
}

rules! {
    Abs (Unary::Abs), curved: false, |self, x, y| {
        value: x.abs(),
        first: sign(x),
        second: T::ZERO,
    }
    Affine (Unary::Affine { scale, shift }) { scale: scale, shift: shift }, curved: false, |self, x, y| {
        value: self.scale * x + self.shift,
        first: self.scale,
        second: T::ZERO,
    }
    Atan (Unary::Atan), curved: true, |self, x, y| {
        value: T::from_f64(libm::atan(x.to_f64())),
        first: T::ONE / (T::ONE + x * x),
        second: {
            let r = T::ONE / (T::ONE + x * x);
            -twice(x * r) * r
        },
    }
    // torch narrows alpha to single precision in its derivatives, not in the value.
    Celu (Unary::Celu { alpha }) { alpha: alpha, rate: 1.0 / alpha, slope: alpha * narrowed(alpha), narrow: narrowed(alpha) },
        curved: true, |self, x, y| {
        value: if x <= T::ZERO { self.alpha * (self.rate * x).expm1::<FMA>() } else { x },
        first: if x <= T::ZERO { self.slope * (self.narrow * x).exp::<FMA>() } else { T::ONE },
        second: if x < T::ZERO { self.slope * self.narrow * (self.narrow * x).exp::<FMA>() } else { T::ZERO },
    }
    Clamp (Unary::Clamp { min, max }) { min: min, max: max }, curved: false, |self, x, y| {
        value: clamp(x, self.min, self.max),
        first: step(x >= self.min && x <= self.max),
        second: T::ZERO,
    }
    Detach (Unary::Detach), curved: false, |self, x, y| {
        value: x,
        first: T::ZERO,
        second: T::ZERO,
    }
    Elu (Unary::Elu { alpha, scale }) { scale: scale, left: alpha * scale }, curved: true, |self, x, y| {
        value: if x <= T::ZERO { self.left * x.expm1::<FMA>() } else { self.scale * x },
        first: if x <= T::ZERO { self.left * x.exp::<FMA>() } else { self.scale },
        second: if x < T::ZERO { self.left * x.exp::<FMA>() } else { T::ZERO },
    }
    Erf (Unary::Erf), curved: true, |self, x, y| {
        // Near 0 the complement cancels.
        value: {
            let complement = T::ONE - x.abs().erfc::<FMA>();
            let square = x * x;
            let series = twice(c::<T>(FRAC_1_SQRT_PI)) * x * (T::ONE - square / c(3.0) + square * square / c(10.0));
            if square < c(1e-6) { series } else if x < T::ZERO { -complement } else { complement }
        },
        first: twice(c::<T>(FRAC_1_SQRT_PI)) * (-x * x).exp::<FMA>(),
        second: -c::<T>(4.0 * FRAC_1_SQRT_PI) * tail(x) * (-x * x).exp::<FMA>(),
    }
    Floor (Unary::Floor), curved: false, |self, x, y| {
        value: T::from_f64(x.to_f64().floor()),
        first: T::ZERO,
        second: T::ZERO,
    }
    Exp (Unary::Exp), curved: true, |self, x, y| {
        value: x.exp::<FMA>(),
        first: y,
        second: y,
    }
    Expm1 (Unary::Expm1), curved: true, |self, x, y| {
        value: x.expm1::<FMA>(),
        first: x.exp::<FMA>(),
        second: x.exp::<FMA>(),
    }
    GeluExact (Unary::Gelu(GeluKind::Exact)), curved: true, |self, x, y| {
        value: x * phi::<T, FMA>(x),
        first: phi::<T, FMA>(x) + tail(x) * density::<T, FMA>(tail(x)),
        second: density::<T, FMA>(tail(x)) * (c::<T>(2.0) - tail(x) * tail(x)),
    }
    GeluTanh (Unary::Gelu(GeluKind::Tanh)), curved: true, |self, x, y| {
        // (1 + tanh u) / 2 is the sigmoid of 2 u, which does not cancel on the left.
        value: x * twice(gelu_inner(tail(x))[0]).sigmoid::<FMA>(),
        first: {
            let [u, du, _] = gelu_inner(tail(x));
            let s = twice(u).sigmoid::<FMA>();
            s + twice(tail(x) * s * (T::ONE - s) * du)
        },
        second: {
            let [u, du, ddu] = gelu_inner(tail(x));
            let s = twice(u).sigmoid::<FMA>();
            twice(s * (T::ONE - s)) * (twice(du) + tail(x) * (ddu + twice(T::ONE - twice(s)) * du * du))
        },
    }
    Hardshrink (Unary::Hardshrink { lambd }) { lambd: lambd }, curved: false, |self, x, y| {
        value: if x.abs() <= self.lambd { T::ZERO } else { x },
        first: unless(x.abs() <= self.lambd),
        second: T::ZERO,
    }
    Hardsigmoid (Unary::Hardsigmoid), curved: false, |self, x, y| {
        value: clamp(x + c(3.0), T::ZERO, c(6.0)) / c(6.0),
        // torch's sixth is one of single precision here, and its Jacobian is what ours equals.
        first: if x > c(-3.0) && x < c(3.0) { c(f64::from(1.0f32 / 6.0)) } else { T::ZERO },
        second: T::ZERO,
    }
    Hardswish (Unary::Hardswish), curved: true, |self, x, y| {
        value: x * (clamp(x + c(3.0), T::ZERO, c(6.0)) / c(6.0)),
        first: if x <= c(-3.0) { T::ZERO } else if x < c(3.0) { x / c(3.0) + half() } else { T::ONE },
        second: if x > c(-3.0) && x < c(3.0) { T::ONE / c(3.0) } else { T::ZERO },
    }
    Hardtanh (Unary::Hardtanh { min, max }) { min: min, max: max }, curved: false, |self, x, y| {
        value: clamp(x, self.min, self.max),
        first: unless(x <= self.min || x >= self.max),
        second: T::ZERO,
    }
    LeakyRelu (Unary::LeakyRelu { slope }) { slope: slope }, curved: false, |self, x, y| {
        value: if x > T::ZERO { x } else { self.slope * x },
        first: if x > T::ZERO { T::ONE } else { self.slope },
        second: T::ZERO,
    }
    Log (Unary::Log), curved: true, |self, x, y| {
        value: x.ln::<FMA>(),
        first: T::ONE / x,
        second: -(T::ONE / x) / x,
    }
    Log1p (Unary::Log1p), curved: true, |self, x, y| {
        value: x.ln_1p::<FMA>(),
        first: T::ONE / (T::ONE + x),
        second: -(T::ONE / (T::ONE + x)) / (T::ONE + x),
    }
    LogSigmoid (Unary::LogSigmoid), curved: true, |self, x, y| {
        value: -softplus::<T, FMA>(-x),
        first: (-x).sigmoid::<FMA>(),
        second: -x.sigmoid::<FMA>() * (-x).sigmoid::<FMA>(),
    }
    Mish (Unary::Mish), curved: true, |self, x, y| {
        value: x * mish_gate::<T, FMA>(x)[0],
        first: {
            let [w, dw, _] = mish_gate::<T, FMA>(x);
            w + x * dw
        },
        second: {
            let [_, dw, ddw] = mish_gate::<T, FMA>(x);
            twice(dw) + x * ddw
        },
    }
    Neg (Unary::Neg), curved: false, |self, x, y| {
        value: -x,
        first: -T::ONE,
        second: T::ZERO,
    }
    Pow (Unary::Pow { exponent }) { exponent: exponent }, curved: true, |self, x, y| {
        value: x.powf(self.exponent),
        // The root of a window of zeros has none of the infinite derivatives in torch's LPPool.
        first: if is_root_of_zero(x, self.exponent) {
            T::ZERO
        } else {
            scaled_power(x, self.exponent, self.exponent - T::ONE)
        },
        second: if is_root_of_zero(x, self.exponent) {
            T::ZERO
        } else {
            scaled_power(x, self.exponent * (self.exponent - T::ONE), self.exponent - c(2.0))
        },
    }
    Reciprocal (Unary::Reciprocal), curved: true, |self, x, y| {
        value: T::ONE / x,
        first: -y * y,
        second: twice(y * y * y),
    }
    Relu (Unary::Relu), curved: false, |self, x, y| {
        value: if x <= T::ZERO { T::ZERO } else { x },
        first: unless(x <= T::ZERO),
        second: T::ZERO,
    }
    Round (Unary::Round), curved: false, |self, x, y| {
        value: T::from_f64(x.to_f64().round_ties_even()),
        first: T::ZERO,
        second: T::ZERO,
    }
    Rsqrt (Unary::Rsqrt), curved: true, |self, x, y| {
        value: T::ONE / x.sqrt(),
        first: -half::<T>() * y / x,
        second: c::<T>(0.75) * (y / x) / x,
    }
    Sigmoid (Unary::Sigmoid), curved: true, |self, x, y| {
        value: x.sigmoid::<FMA>(),
        first: y * (T::ONE - y),
        second: y * (T::ONE - y) * (T::ONE - y - y),
    }
    Silu (Unary::Silu), curved: true, |self, x, y| {
        value: x * x.sigmoid::<FMA>(),
        first: {
            let s = x.sigmoid::<FMA>();
            s + y * (T::ONE - s)
        },
        second: {
            let s = x.sigmoid::<FMA>();
            s * (T::ONE - s) * (c::<T>(2.0) + x * (T::ONE - twice(s)))
        },
    }
    Sin (Unary::Sin), curved: true, |self, x, y| {
        value: T::from_f64(libm::sin(x.to_f64())),
        first: T::from_f64(libm::cos(x.to_f64())),
        second: -y,
    }
    Softplus (Unary::Softplus { beta, threshold }) { beta: beta, threshold: threshold },
        curved: true, |self, x, y| {
        value: {
            let z = self.beta * x;
            if z > self.threshold { x } else { softplus::<T, FMA>(z) / self.beta }
        },
        first: if self.beta * x > self.threshold { T::ONE } else { (self.beta * x).sigmoid::<FMA>() },
        second: if self.beta * x >= self.threshold {
            T::ZERO
        } else {
            let s = (self.beta * x).sigmoid::<FMA>();
            self.beta * s * (T::ONE - s)
        },
    }
    Softshrink (Unary::Softshrink { lambd }) { lambd: lambd }, curved: false, |self, x, y| {
        value: if x.abs() <= self.lambd {
            T::ZERO
        } else if x > T::ZERO {
            x - self.lambd
        } else {
            x + self.lambd
        },
        first: unless(x.abs() <= self.lambd),
        second: T::ZERO,
    }
    Softsign (Unary::Softsign), curved: true, |self, x, y| {
        value: x / (T::ONE + x.abs()),
        first: {
            let r = T::ONE / (T::ONE + x.abs());
            r * r
        },
        second: {
            let r = T::ONE / (T::ONE + x.abs());
            -twice(sign(x)) * r * r * r
        },
    }
    Sqrt (Unary::Sqrt), curved: true, |self, x, y| {
        value: x.sqrt(),
        first: half::<T>() / y,
        second: -c::<T>(0.25) / (y * x),
    }
    Square (Unary::Square), curved: true, |self, x, y| {
        value: x * x,
        first: twice(x),
        second: c(2.0),
    }
    Tanh (Unary::Tanh), curved: true, |self, x, y| {
        value: x.tanh::<FMA>(),
        first: T::ONE - y * y,
        second: (y * y - T::ONE) * (y + y),
    }
    Tanhshrink (Unary::Tanhshrink), curved: true, |self, x, y| {
        value: x - x.tanh::<FMA>(),
        first: {
            let t = x.tanh::<FMA>();
            t * t
        },
        second: {
            let t = x.tanh::<FMA>();
            twice(t) * (T::ONE - t * t)
        },
    }
    Threshold (Unary::Threshold { threshold, value }) { threshold: threshold, value: value },
        curved: false, |self, x, y| {
        value: if x <= self.threshold { self.value } else { x },
        first: unless(x <= self.threshold),
        second: T::ZERO,
    }
}

/// Whether the function's second derivative is not zero everywhere.
pub fn is_curved(unary: Unary) -> bool {
    struct Curved;
    impl Visitor<f64> for Curved {
        type Output = bool;
        fn visit<R: Rule<f64>>(self, _: R) -> bool {
            R::CURVED
        }
    }
    visit(unary, Curved)
}

/// f(x), f'(x) and f''(x) in double precision.
pub fn at(unary: Unary, x: f64) -> [f64; 3] {
    struct At(f64);
    impl Visitor<f64> for At {
        type Output = [f64; 3];
        fn visit<R: Rule<f64>>(self, rule: R) -> [f64; 3] {
            let y = rule.value::<false>(self.0);
            [y, rule.first::<false>(self.0, y), rule.second::<false>(self.0, y)]
        }
    }
    visit(unary, At(x))
}

#[inline(always)]
fn c<T: Real>(value: f64) -> T {
    T::from_f64(value)
}

/// The inverse of CELU's alpha as torch's derivatives have it.
fn narrowed(alpha: f64) -> f64 {
    let inverse = 1.0 / f64::from(alpha as f32);
    if inverse.is_normal() { inverse } else { 1.0 / alpha }
}

/// `1 / sqrt(pi)`.
const FRAC_1_SQRT_PI: f64 = FRAC_2_SQRT_PI / 2.0;

#[inline(always)]
fn half<T: Real>() -> T {
    c(0.5)
}

#[inline(always)]
fn twice<T: Real>(x: T) -> T {
    x + x
}

#[inline(always)]
fn step<T: Real>(one: bool) -> T {
    if one { T::ONE } else { T::ZERO }
}

/// 0 where the comparison holds, else 1, which is so for NaN as well.
#[inline(always)]
fn unless<T: Real>(zero: bool) -> T {
    if zero { T::ZERO } else { T::ONE }
}

/// -1, 0 or 1; 0 for NaN.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    step::<T>(x > T::ZERO) - step::<T>(x < T::ZERO)
}

/// The upper bound wins; NaN passes.
#[inline(always)]
fn clamp<T: Real>(x: T, min: T, max: T) -> T {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// Whether this is the power below 1 of 0.
#[inline(always)]
fn is_root_of_zero<T: Real>(x: T, exponent: T) -> bool {
    x == T::ZERO && exponent > T::ZERO && exponent < T::ONE
}

/// `a x^b`, and 0 where `a` is 0 whatever the power.
#[inline(always)]
fn scaled_power<T: Real>(x: T, a: T, b: T) -> T {
    if a == T::ZERO { T::ZERO } else { a * x.powf(b) }
}

/// Beyond 50 the derivatives of GELU are 0 or constant to the last bit, but the factors of their formulas overflow.
#[inline(always)]
fn tail<T: Real>(x: T) -> T {
    clamp(x, c(-50.0), c(50.0))
}

/// The normal distribution function.
#[inline(always)]
fn phi<T: Real, const FMA: bool>(x: T) -> T {
    half::<T>() * (x * c(-FRAC_1_SQRT_2)).erfc::<FMA>()
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
    positive + (-z.abs()).exp::<FMA>().ln_1p::<FMA>()
}

/// `tanh(log(1 + e)) = n / (n + 2)` for `e = exp(x)` and `n = e^2 + 2 e`, with its derivatives by `x`. At 25 the
/// quotient is 1 to the last bit; beyond, `e` alone would overflow in the derivatives.
#[inline(always)]
fn mish_gate<T: Real, const FMA: bool>(x: T) -> [T; 3] {
    let e = (if x > c(25.0) { c(25.0) } else { x }).exp::<FMA>();
    let n = e * (e + c(2.0));
    let r = T::ONE / (n + c(2.0));
    let inside = unless::<T>(x > c(25.0));
    // The factors are ordered so that none overflows in single precision.
    let first = c::<T>(4.0) * (e * r) * ((e + T::ONE) * r) * inside;
    let cubic = ((c::<T>(-2.0) * e - c(3.0)) * e + c(2.0)) * e + c(2.0);
    let second = c::<T>(4.0) * (e * r) * ((cubic * r) * r) * inside;
    [n * r, first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_central_differences() {
        for unary in Unary::examples().into_iter().filter(|unary| *unary != Unary::Detach) {
            for i in -40..40 {
                let x = f64::from(i) * 0.1 + 0.05;
                let h = 1e-5;
                let outside = x - h <= unary.domain().0;
                let jump = match unary {
                    Unary::Softplus { beta, threshold } => Some(threshold / beta),
                    _ => None,
                };
                if outside || jump.is_some_and(|jump| (jump - x).abs() < 2.0 * h) {
                    continue;
                }
                let ([a, da, _], [b, db, _]) = (at(unary, x - h), at(unary, x + h));
                let [_, first, second] = at(unary, x);
                let near = |a: f64, b: f64| (a - b).abs() < 1e-7 * (1.0 + a.abs()) / x.abs().min(1.0).powi(4);
                assert!(near(first, (b - a) / (2.0 * h)), "{unary:?} at {x}: {first}");
                assert!(near(second, (db - da) / (2.0 * h)), "{unary:?} at {x}: {second}");
                assert!(is_curved(unary) || second == 0.0);
            }
        }
    }

    #[test]
    fn kinks_are_torchs() {
        // (function, x, f, f', f'') as torch 2.13 gives them.
        let cases = [
            (Unary::Relu, 0.0, [0.0, 0.0, 0.0]),
            (Unary::LeakyRelu { slope: 0.2 }, 0.0, [0.0, 0.2, 0.0]),
            (Unary::RELU6, 0.0, [0.0, 0.0, 0.0]),
            (Unary::RELU6, 6.0, [6.0, 0.0, 0.0]),
            (Unary::Hardtanh { min: -1.0, max: 3.0 }, -1.0, [-1.0, 0.0, 0.0]),
            (Unary::Hardtanh { min: -1.0, max: 3.0 }, 3.0, [3.0, 0.0, 0.0]),
            (Unary::Clamp { min: -1.0, max: 3.0 }, -1.0, [-1.0, 1.0, 0.0]),
            (Unary::Clamp { min: -1.0, max: 3.0 }, 3.0, [3.0, 1.0, 0.0]),
            (Unary::Elu { alpha: 2.0, scale: 1.0 }, 0.0, [0.0, 2.0, 0.0]),
            (Unary::Pow { exponent: 0.5 }, 0.0, [0.0, 0.0, 0.0]),
            (Unary::Hardsigmoid, -3.0, [0.0, 0.0, 0.0]),
            (Unary::Hardsigmoid, 3.0, [1.0, 0.0, 0.0]),
            (Unary::Hardswish, -3.0, [0.0, 0.0, 0.0]),
            (Unary::Hardswish, 3.0, [3.0, 1.0, 0.0]),
            (Unary::Softshrink { lambd: 1.0 }, 1.0, [0.0, 0.0, 0.0]),
            (Unary::Softshrink { lambd: 1.0 }, -1.0, [0.0, 0.0, 0.0]),
            (Unary::Hardshrink { lambd: 1.0 }, 1.0, [0.0, 0.0, 0.0]),
            (Unary::Hardshrink { lambd: 1.0 }, -1.0, [0.0, 0.0, 0.0]),
            (Unary::Threshold { threshold: 1.0, value: 5.0 }, 1.0, [5.0, 0.0, 0.0]),
            (Unary::Softsign, 0.0, [0.0, 1.0, 0.0]),
            (Unary::Abs, 0.0, [0.0, 0.0, 0.0]),
            // Exactly at the threshold torch takes the smooth branch's f and f', but f'' = 0.
            (Unary::Softplus { beta: 1.0, threshold: 20.0 }, 800.0, [800.0, 1.0, 0.0]),
            (Unary::Softplus { beta: 1.0, threshold: 20.0 }, -800.0, [0.0, 0.0, 0.0]),
        ];
        for (unary, x, expected) in cases {
            assert_eq!(at(unary, x).map(|v| v + 0.0), expected, "{unary:?} at {x}");
        }
        let [_, first, second] = at(Unary::Softplus { beta: 1.0, threshold: 2.0 }, 2.0);
        assert!(first < 1.0 && second == 0.0);
        assert_eq!(at(Unary::Softplus { beta: 1.0, threshold: 1e4 }, 800.0)[0], 800.0);
    }

    #[test]
    fn extremes_are_finite_where_torchs_are() {
        for unary in Unary::examples() {
            assert!(
                at(unary, f64::NAN)[0].is_nan() || matches!(unary, Unary::Pow { exponent: 0.0 }),
                "{unary:?} of NaN is {}",
                at(unary, f64::NAN)[0]
            );
            for x in [-1e308, -800.0, -0.0, 800.0, 1e308] {
                let values = at(unary, x);
                let fine = match unary {
                    Unary::Exp | Unary::Expm1 | Unary::Square | Unary::Pow { .. } | Unary::Reciprocal => continue,
                    Unary::Log | Unary::Log1p | Unary::Sqrt | Unary::Rsqrt if x <= 0.0 => continue,
                    // Grows exponentially on the left.
                    Unary::Celu { alpha } if alpha < 0.0 => values.iter().all(|v| !v.is_nan()),
                    Unary::Affine { .. } | Unary::LeakyRelu { .. } => !values[0].is_nan(),
                    _ => values.iter().all(|v| v.is_finite()),
                };
                assert!(fine, "{unary:?} at {x}: {values:?}");
            }
        }
    }
}

//! Medians of calls whose samples alternate.

use std::time::Instant;

use native_torch::{eval::Function, tensor::Real};

use crate::nets::numbers;

/// Takes a sample: the time of a call in seconds.
pub type Sampler<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Samples of at least a millisecond. The call is given a number that changes from one to the next, to change its point by.
pub fn sampler<'a>(mut call: impl FnMut(usize) + 'a) -> Sampler<'a> {
    call(0);
    let started = Instant::now();
    call(1);
    let repeats = ((1e-3 / started.elapsed().as_secs_f64().max(1e-9)) as usize).clamp(1, 10_000);
    let mut next = 0;
    Box::new(move || {
        let sample = Instant::now();
        (next..next + repeats).for_each(&mut call);
        next += 1;
        sample.elapsed().as_secs_f64() / repeats as f64
    })
}

/// The median time of a call in seconds, of samples for half a second.
pub fn median(call: impl FnMut(usize)) -> f64 {
    medians(&mut [sampler(call)])[0]
}

/// The median times of several calls, whose samples alternate, so that what else the machine does slows all of them.
pub fn medians(samplers: &mut [Sampler]) -> Vec<f64> {
    let mut samples = vec![Vec::new(); samplers.len()];
    let limit = 0.5 * samplers.len() as f64;
    let started = Instant::now();
    while samples[0].len() < 5 || (started.elapsed().as_secs_f64() < limit && samples[0].len() < 1000) {
        samples.iter_mut().zip(&mut *samplers).for_each(|(samples, sampler)| samples.push(sampler()));
    }
    let median = |mut samples: Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    };
    samples.into_iter().map(median).collect()
}

/// A call that a table times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// f.
    Value,
    /// J, f included.
    Jacobian,
    /// The Hessian of mu'f, and f.
    Hessian,
}

impl Call {
    /// What it computes.
    pub fn name(self) -> &'static str {
        match self {
            Call::Value => "f",
            Call::Jacobian => "f and J",
            Call::Hessian => "f and H",
        }
    }
}

/// A call at so many points, dense or by entries, with numbers of this type. Points change from call to call, so that none
/// finds its values in the workspace.
pub fn caller<N: Real>(f: &Function, call: Call, points: usize, threads: usize) -> impl FnMut(usize) {
    let mut workspace = f.workspace();
    workspace.set_threads(threads).expect("the threads start");
    let numbers = |count, scale| -> Vec<N> { numbers(count, scale).into_iter().map(N::from_f64).collect() };
    let (n, m) = (f.n(), f.m());
    let inputs = [numbers(points * n, 1.0), numbers(points * n, 0.5)];
    let mu = numbers(points * m, 1.0);
    let mut y = vec![N::ZERO; points * m];
    let length = match call {
        Call::Value => 0,
        Call::Jacobian => f.jacobian_pattern().len(),
        Call::Hessian => f.hessian_pattern().len(),
    };
    let mut matrix = vec![N::ZERO; points * length];
    move |i| {
        let x = &inputs[i % 2];
        match call {
            Call::Value => f.value(&mut workspace, x, &mut y),
            Call::Jacobian => f.jacobian_values(&mut workspace, x, &mut matrix),
            Call::Hessian => {
                f.value(&mut workspace, x, &mut y).and_then(|()| f.hessian_values(&mut workspace, x, &mu, &mut matrix))
            }
        }
        .expect("lengths fit");
    }
}

//! What the speed tables share: networks, the timing of calls, the report.

pub mod nets;
mod report;
mod timing;

pub use report::{Report, micro, percent};
pub use timing::{Call, Sampler, caller, median, medians, sampler};

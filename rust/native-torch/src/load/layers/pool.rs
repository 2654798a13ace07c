//! Pooling over lines, images and volumes.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_option, python_tuple};
use crate::{
    Error, Result,
    graph::{AvgPool, MaxPool, Op, Unary, ValueId},
    load::value::python_float,
    tensor::Tensor,
};

#[derive(Debug)]
struct Pool(Op);

pub(super) fn average<const N: usize>(fields: &Fields) -> Result<Standard> {
    let kernel: [usize; N] = fields.each("kernel_size", 1)?;
    // torch has no divisor for lines.
    let divisor = if N == 1 { None } else { fields.optional_int("divisor_override")? };
    if divisor == Some(0) {
        return Err(Error::format("attribute `divisor_override` is 0, which torch refuses"));
    }
    Ok(Standard::new(Pool(Op::AvgPool(AvgPool {
        kernel: kernel.to_vec(),
        stride: fields.each_or_unset("stride", 1, kernel)?.to_vec(),
        padding: fields.each_or::<N>("padding", 0, 0)?.to_vec(),
        ceil_mode: fields.bool_or("ceil_mode", false)?,
        count_include_pad: fields.bool_or("count_include_pad", true)?,
        divisor,
    }))))
}

pub(super) fn maximum<const N: usize>(fields: &Fields) -> Result<Standard> {
    let kernel: [usize; N] = fields.each("kernel_size", 1)?;
    refuse_indices(fields)?;
    Ok(Standard::new(Pool(Op::MaxPool(MaxPool {
        kernel: kernel.to_vec(),
        stride: fields.each_or_unset("stride", 1, kernel)?.to_vec(),
        padding: fields.each_or::<N>("padding", 0, 0)?.to_vec(),
        dilation: fields.each_or::<N>("dilation", 1, 1)?.to_vec(),
        ceil_mode: fields.bool_or("ceil_mode", false)?,
    }))))
}

pub(super) fn adaptive_average<const N: usize>(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Pool(Op::AdaptiveAvgPool(fields.each_or_none::<N>("output_size")?.to_vec()))))
}

pub(super) fn adaptive_maximum<const N: usize>(fields: &Fields) -> Result<Standard> {
    refuse_indices(fields)?;
    Ok(Standard::new(Pool(Op::AdaptiveMaxPool(fields.each_or_none::<N>("output_size")?.to_vec()))))
}

/// `(sum of x^p)^(1/p)` over windows, as torch computes it: by the mean, so that a window that is cut counts as full.
#[derive(Debug)]
struct PowerPool {
    power: f64,
    mean: AvgPool,
}

pub(super) fn power<const N: usize>(fields: &Fields) -> Result<Standard> {
    let power = fields.float("norm_type")?;
    if power == 0.0 {
        return Err(Error::format("attribute `norm_type` is 0; its inverse is a power, too"));
    }
    let kernel: [usize; N] = fields.each("kernel_size", 1)?;
    if kernel.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).is_none() {
        return Err(Error::format(format!("attribute `kernel_size` is {}, which overflows", python_tuple(&kernel))));
    }
    let mean = AvgPool {
        kernel: kernel.to_vec(),
        stride: fields.each_or_unset("stride", 1, kernel)?.to_vec(),
        padding: vec![0; N],
        ceil_mode: fields.bool_or("ceil_mode", false)?,
        count_include_pad: true,
        divisor: None,
    };
    Ok(Standard::new(PowerPool { power, mean }))
}

impl Rule for PowerPool {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("norm_type", python_float(self.power)),
            ("kernel_size", python_tuple(&self.mean.kernel)),
            ("stride", python_tuple(&self.mean.stride)),
            ("ceil_mode", python_bool(self.mean.ceil_mode)),
        ]
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let size: usize = self.mean.kernel.iter().product();
        let powers = if self.power == 1.0 { x } else { place.builder.unary(Unary::Pow { exponent: self.power }, x)? };
        let means = place.builder.node(Op::AvgPool(self.mean.clone()), &[powers])?;
        let size = place.parameter("window_size", &Tensor::from_slice(&[], &[size as f64]));
        let sums = place.builder.node(Op::Mul, &[means, size])?;
        // torch takes the root of the sum's sign times its size, which has no derivative at 0, whatever the power.
        let root = match self.power {
            1.0 => Unary::Softshrink { lambd: 0.0 },
            power => Unary::Pow { exponent: 1.0 / power },
        };
        place.builder.unary(root, sums)
    }
}

fn refuse_indices(fields: &Fields) -> Result<()> {
    if fields.bool_or("return_indices", false)? {
        return Err(Error::unsupported(
            "return_indices=True gives two outputs, which is not supported; set return_indices=False before saving",
        ));
    }
    Ok(())
}

impl Rule for Pool {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        match &self.0 {
            Op::AvgPool(pool) => {
                let mut arguments = vec![
                    ("kernel_size", python_tuple(&pool.kernel)),
                    ("stride", python_tuple(&pool.stride)),
                    ("padding", python_tuple(&pool.padding)),
                    ("ceil_mode", python_bool(pool.ceil_mode)),
                    ("count_include_pad", python_bool(pool.count_include_pad)),
                ];
                arguments.extend(pool.divisor.map(|divisor| ("divisor_override", divisor.to_string())));
                arguments
            }
            Op::MaxPool(pool) => vec![
                ("kernel_size", python_tuple(&pool.kernel)),
                ("stride", python_tuple(&pool.stride)),
                ("padding", python_tuple(&pool.padding)),
                ("dilation", python_tuple(&pool.dilation)),
                ("ceil_mode", python_bool(pool.ceil_mode)),
            ],
            Op::AdaptiveAvgPool(sizes) | Op::AdaptiveMaxPool(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(|&size| python_option(size)).collect();
                vec![("output_size", python_tuple(&sizes))]
            }
            _ => Vec::new(),
        }
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        place.builder.node(self.0.clone(), &[x])
    }
}

//! Pooling over images.

use super::{Expects, Fields, Place, Rule, Standard, python_bool, python_tuple};
use crate::{
    Error, Result,
    graph::{AvgPool, MaxPool, Op, ValueId},
};

#[derive(Debug)]
struct Pool(Op);

pub(super) fn avg_pool2d(fields: &Fields) -> Result<Standard> {
    let kernel: [usize; 2] = fields.each("kernel_size", 1)?;
    let divisor = fields.optional_int("divisor_override")?;
    if divisor == Some(0) {
        return Err(Error::format("attribute `divisor_override` is 0, which torch refuses"));
    }
    Ok(Standard::new(Pool(Op::AvgPool(AvgPool {
        kernel: kernel.to_vec(),
        stride: fields.each_or_unset("stride", 1, kernel)?.to_vec(),
        padding: fields.each_or::<2>("padding", 0, 0)?.to_vec(),
        ceil_mode: fields.bool_or("ceil_mode", false)?,
        count_include_pad: fields.bool_or("count_include_pad", true)?,
        divisor,
    }))))
}

pub(super) fn max_pool2d(fields: &Fields) -> Result<Standard> {
    let kernel: [usize; 2] = fields.each("kernel_size", 1)?;
    if fields.bool_or("return_indices", false)? {
        return Err(Error::unsupported(
            "return_indices=True gives two outputs, which is not supported; set return_indices=False before saving",
        ));
    }
    Ok(Standard::new(Pool(Op::MaxPool(MaxPool {
        kernel: kernel.to_vec(),
        stride: fields.each_or_unset("stride", 1, kernel)?.to_vec(),
        padding: fields.each_or::<2>("padding", 0, 0)?.to_vec(),
        dilation: fields.each_or::<2>("dilation", 1, 1)?.to_vec(),
        ceil_mode: fields.bool_or("ceil_mode", false)?,
    }))))
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

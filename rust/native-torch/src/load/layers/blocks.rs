//! Blocks of images: shuffles between channels and pixels, Fold and Unfold.

use super::{Expects, Fields, Place, Rule, Standard, python_tuple};
use crate::{
    Result,
    graph::{Blocks, Op, Padding, ValueId},
};

/// Dimensions that are split, exchanged and joined.
#[derive(Debug)]
enum Shuffle {
    /// `[.., C r r, H, W]` to `[.., C, H r, W r]`.
    Pixels(usize),
    /// `[.., C, H r, W r]` to `[.., C r r, H, W]`.
    PixelsBack(usize),
    /// `[N, g C, ..]` to `[N, C g, ..]`.
    Channels(usize),
}

pub(super) fn pixel_shuffle(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Shuffle::Pixels(fields.positive("upscale_factor")?)))
}

pub(super) fn pixel_unshuffle(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Shuffle::PixelsBack(fields.positive("downscale_factor")?)))
}

pub(super) fn channel_shuffle(fields: &Fields) -> Result<Standard> {
    Ok(Standard::new(Shuffle::Channels(fields.positive("groups")?)))
}

impl Rule for Shuffle {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        match self {
            Shuffle::Pixels(factor) => vec![("upscale_factor", factor.to_string())],
            Shuffle::PixelsBack(factor) => vec![("downscale_factor", factor.to_string())],
            Shuffle::Channels(groups) => vec![("groups", groups.to_string())],
        }
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        let rank = place.rank(x);
        if rank < 3 {
            return Err(place.wrong_input(x, "but at least three dimensions are expected"));
        }
        // Where the channels are.
        let c = if let Shuffle::Channels(_) = self { 1 } else { rank - 3 };
        let b = &mut *place.builder;
        let mut split = |x, dim, sizes: &[Option<usize>]| b.node(Op::Unflatten { dim, sizes: sizes.to_vec() }, &[x]);
        let (split, order, joined): (_, &[usize], _) = match *self {
            Shuffle::Pixels(r) => {
                let split = split(x, c, &[None, Some(r), Some(r)])?;
                (split, &[0, 3, 1, 4, 2], vec![c + 3, c + 1])
            }
            Shuffle::PixelsBack(r) => {
                let columns = split(x, c + 2, &[None, Some(r)])?;
                let split = split(columns, c + 1, &[None, Some(r)])?;
                (split, &[0, 2, 4, 1, 3], vec![c + 1, c])
            }
            Shuffle::Channels(groups) => {
                let split = split(x, c, &[Some(groups), None])?;
                (split, &[1, 0], vec![c])
            }
        };
        let rest = c + order.len()..b.ty(split).rank();
        let dims = (0..c).chain(order.iter().map(|dim| c + dim)).chain(rest).collect();
        let moved = b.node(Op::Permute { dims }, &[split])?;
        joined.into_iter().try_fold(moved, |x, start| b.node(Op::Flatten { start, end: start + 1 }, &[x]))
    }
}

/// Images to columns of windows, or back.
#[derive(Debug)]
struct Windows {
    blocks: Blocks,
    padding: [usize; 2],
    /// The sizes of the image, where it is made of columns.
    image: Option<[usize; 2]>,
}

pub(super) fn unfold(fields: &Fields) -> Result<Standard> {
    windows(fields, None)
}

pub(super) fn fold(fields: &Fields) -> Result<Standard> {
    windows(fields, Some(fields.each("output_size", 1)?))
}

fn windows(fields: &Fields, image: Option<[usize; 2]>) -> Result<Standard> {
    let blocks = Blocks {
        kernel: fields.each::<2>("kernel_size", 1)?.to_vec(),
        stride: fields.each_or::<2>("stride", 1, 1)?.to_vec(),
        dilation: fields.each_or::<2>("dilation", 1, 1)?.to_vec(),
    };
    Ok(Standard::new(Windows { blocks, padding: fields.each_or("padding", 0, 0)?, image }))
}

impl Windows {
    /// Puts the padding around an image, or takes it away.
    fn pad(&self, x: ValueId, sign: isize, place: &mut Place) -> Result<ValueId> {
        if self.padding == [0, 0] {
            return Ok(x);
        }
        let amounts = self.padding.iter().map(|&amount| (sign * amount as isize, sign * amount as isize)).collect();
        place.builder.node(Op::Pad { amounts, padding: Padding::Constant(0.0) }, &[x])
    }
}

impl Rule for Windows {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let mut arguments = Vec::new();
        arguments.extend(self.image.map(|sizes| ("output_size", python_tuple(&sizes))));
        arguments.extend([
            ("kernel_size", python_tuple(&self.blocks.kernel)),
            ("dilation", python_tuple(&self.blocks.dilation)),
            ("padding", python_tuple(&self.padding)),
            ("stride", python_tuple(&self.blocks.stride)),
        ]);
        arguments
    }

    fn expects(&self) -> Expects {
        Expects::Given
    }

    fn apply(&self, x: ValueId, place: &mut Place) -> Result<ValueId> {
        match self.image {
            None => {
                // Checked before the padding, which takes any rank.
                if !matches!(place.rank(x), 3 | 4) {
                    return Err(place.wrong_input(x, "but [N, C, H, W] or [C, H, W] is expected"));
                }
                let padded = self.pad(x, 1, place)?;
                place.builder.node(Op::Unfold(self.blocks.clone()), &[padded])
            }
            Some(image) => {
                // Sums cannot overflow: the attributes are limited.
                let sizes = image.iter().zip(self.padding).map(|(size, padding)| size + 2 * padding).collect();
                let padded = place.builder.node(Op::Fold { sizes, blocks: self.blocks.clone() }, &[x])?;
                self.pad(padded, -1, place)
            }
        }
    }
}

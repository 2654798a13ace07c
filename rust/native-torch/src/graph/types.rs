//! Types of values: a dtype and sizes, some of which may not be known yet.

use std::sync::Arc;

use crate::tensor::DType;

/// The size of one dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known size.
    Size(usize),
    /// A size that the caller chooses, under a name: the batch `N`.
    Symbol(Arc<str>),
    /// A size that follows from symbolic ones.
    Unknown,
}

impl Dim {
    /// The symbol of this name.
    pub fn symbol(name: &str) -> Self {
        Dim::Symbol(name.into())
    }

    /// The size, if it is known.
    pub fn size(&self) -> Option<usize> {
        match self {
            Dim::Size(size) => Some(*size),
            _ => None,
        }
    }

    /// Whether the two may be the same size.
    pub fn agrees(&self, other: &Dim) -> bool {
        match (self.size(), other.size()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }
    }

    /// The size that `rule` gives, where the size is known.
    pub(super) fn map<E>(&self, rule: impl FnOnce(usize) -> Result<usize, E>) -> Result<Dim, E> {
        match self.size() {
            Some(size) => rule(size).map(Dim::Size),
            None => Ok(Dim::Unknown),
        }
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dim::Size(size) => write!(f, "{size}"),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

/// The sizes as `[N, 3, 8, 8]`.
pub fn format_shape(shape: &[Dim]) -> String {
    let sizes: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// The element type. `F64` stands for the floating-point type that the caller computes in.
    pub dtype: DType,
    /// The sizes.
    pub shape: Vec<Dim>,
}

impl Type {
    /// A type with these dimensions.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> Self {
        Self { dtype, shape }
    }

    /// A type whose sizes are all known.
    pub fn sized(dtype: DType, shape: &[usize]) -> Self {
        Self::new(dtype, shape.iter().map(|&d| Dim::Size(d)).collect())
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The sizes, if all are known.
    pub fn sizes(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::size).collect()
    }

    /// Whether the other type may stand where this one is expected.
    pub fn accepts(&self, other: &Type) -> bool {
        self.dtype == other.dtype
            && self.rank() == other.rank()
            && self.shape.iter().zip(&other.shape).all(|(a, b)| a.agrees(b))
    }
}

//! What the caller chooses of a formulation: the space, and the form of each kind of layer.

use std::{fmt, str::FromStr};

use super::forms::{self, FORMS};
use crate::{Error, Result, graph::Node};

/// Where the values between a network's inputs and outputs live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// Every element of every layer is a variable.
    #[default]
    Full,
    /// Only the inputs are variables; the outputs are expressions of them.
    Reduced,
}

/// How a layer that is not linear is formulated. Which layers have which forms: [`FORMS`](super::FORMS).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// An equation with the function itself: `y == max(z, 0)`.
    Nonlinear,
    /// Rows with a binary for each kink or candidate, with the bounds of the layer's input as big-M. A number stands for
    /// the bounds that are infinite: the caller's word that no kink is farther from the input. One that is smaller
    /// than known bounds is an error.
    BigM(Option<f64>),
    /// The positive and the negative part of the input, of which at most one is not zero, as a set.
    Sos1,
    /// The same with the product of the two: zero, or at most the relaxation parameter.
    Quadratic(Option<f64>),
    /// The same as a complementarity.
    Complementarity,
    /// Rows that a binary switches on.
    Indicator,
    /// Only the side of the function on which it is convex: `y >= max(z, 0)`. Exact where all that follows presses `y`
    /// against the function, as in the minimisation of an input-convex network; a relaxation elsewhere.
    Epigraph,
    /// The epigraph of softplus by exponential cones.
    Cone,
    /// Between big-M (1) and the convex hull of a neuron (the number of its inputs): the inputs in this many parts
    /// (Tsay, Kronqvist, Thebelt and Misener, Partition-based formulations, NeurIPS 2021).
    Partition(usize),
    /// The largest of many as the larger of two, again and again, in the form of ReLU.
    Pairwise,
}

impl Form {
    /// The name in [`Options`] as text.
    pub fn name(self) -> &'static str {
        match self {
            Form::Nonlinear => "nonlinear",
            Form::BigM(_) => "big_m",
            Form::Sos1 => "sos1",
            Form::Quadratic(_) => "quadratic",
            Form::Complementarity => "complementarity",
            Form::Indicator => "indicator",
            Form::Epigraph => "epigraph",
            Form::Cone => "cone",
            Form::Partition(_) => "partition",
            Form::Pairwise => "pairwise",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Form::BigM(Some(number)) | Form::Quadratic(Some(number)) => write!(f, "({number})"),
            Form::Partition(parts) => write!(f, "({parts})"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Form {
    type Err = Error;

    /// A name, with a number in brackets where the form has one: `sos1`, `big_m(100)`, `partition(4)`.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (name, number) = match text.split_once('(') {
            Some((name, rest)) => {
                let number = rest.strip_suffix(')').and_then(|number| number.trim().parse::<f64>().ok());
                let number = number.filter(|number| number.is_finite() && *number >= 0.0);
                let bad =
                    || Error::argument(format!("`{text}`: a number that is not negative belongs in the brackets"));
                (name.trim(), Some(number.ok_or_else(bad)?))
            }
            None => (text, None),
        };
        let form = match (name, number) {
            ("nonlinear", None) => Form::Nonlinear,
            ("big_m", number) => Form::BigM(number),
            ("sos1", None) => Form::Sos1,
            ("quadratic", number) => Form::Quadratic(number),
            ("complementarity", None) => Form::Complementarity,
            ("indicator", None) => Form::Indicator,
            ("epigraph", None) => Form::Epigraph,
            ("cone", None) => Form::Cone,
            ("partition", Some(parts)) if parts >= 1.0 && parts.fract() == 0.0 => Form::Partition(parts as usize),
            ("partition", _) => {
                return Err(Error::argument(format!("`{text}`: partition needs the number of parts: `partition(4)`")));
            }
            ("pairwise", None) => Form::Pairwise,
            (known, Some(_)) if known.parse::<Form>().is_ok() => {
                return Err(Error::argument(format!("`{text}`: {known} takes no number")));
            }
            _ => return Err(Error::argument(format!("there is no form `{text}`; there are {}", forms::all_names()))),
        };
        Ok(form)
    }
}

/// What [`lower`](super::lower) is asked for. The default is full space, big-M for what is piecewise linear, and nonlinear
/// equations for the rest.
///
/// ```
/// use native_torch::lower::{Form, Options, Space};
///
/// let options: Options = "relu=sos1, max_pool=pairwise, layer 2=big_m(100)".parse()?;
/// assert_eq!(options.space, Space::Full);
/// let error = "relu=cone".parse::<Options>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "relu has no form `cone`; it has nonlinear, big_m, sos1, quadratic, complementarity, indicator, epigraph, partition"
/// );
/// # Ok::<(), native_torch::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Full or reduced.
    pub space: Space,
    /// Whether constants and chains of affine layers are folded, as [`passes::fold`](crate::passes::fold) does. A layer
    /// with a form of its own is not folded with others.
    pub fold: bool,
    forms: Vec<(Key, Form)>,
}

/// What a form is chosen for.
#[derive(Clone, Debug, PartialEq)]
enum Key {
    /// An operation, or the family of operations that is named after one of them.
    Kind(&'static str),
    /// The layer of this path.
    Layer(String),
}

impl Default for Options {
    fn default() -> Self {
        Self { space: Space::default(), fold: true, forms: Vec::new() }
    }
}

impl Options {
    /// Chooses the form of a kind of operation: one of [`FORMS`](super::FORMS), also as MathOptAI spells it (`ReLU`,
    /// `MaxPool2d`). `relu` stands for all functions of one element that are piecewise linear and have no form of their
    /// own, `max_pool` for all maxima and minima.
    pub fn set(&mut self, kind: &str, form: Form) -> Result<()> {
        let entry = forms::entry(kind)?;
        if !entry.forms.contains(&form.name()) {
            let (name, known) = (entry.kind, entry.forms.join(", "));
            return Err(Error::argument(format!("{name} has no form `{}`; it has {known}", form.name())));
        }
        self.forms.push((Key::Kind(entry.kind), form));
        Ok(())
    }

    /// Chooses the form of the layer at a path.
    pub fn set_layer(&mut self, path: &str, form: Form) {
        self.forms.push((Key::Layer(path.to_owned()), form));
    }

    /// The form that is chosen for a kind of operation, or the default.
    pub(super) fn form_of_kind(&self, kind: &str) -> Form {
        let entry = FORMS.iter().find(|entry| entry.kind == kind).expect("a kind of the table");
        let of = |wanted: &str| {
            self.forms
                .iter()
                .rev()
                .find(|(key, _)| matches!(key, Key::Kind(kind) if *kind == wanted))
                .map(|entry| entry.1)
        };
        of(entry.kind).or_else(|| of(entry.family)).unwrap_or_else(|| {
            if self.space == Space::Full && entry.forms.contains(&"big_m") { Form::BigM(None) } else { Form::Nonlinear }
        })
    }

    /// The first choice of a form that holds at points which are not the network's.
    pub(crate) fn relaxation(&self) -> Option<Form> {
        let relaxed = |form: &Form| matches!(form, Form::Epigraph | Form::Cone | Form::Quadratic(Some(_)));
        self.forms.iter().map(|choice| choice.1).find(relaxed)
    }

    /// The paths of the layers that have a form of their own.
    pub(super) fn layers(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().filter_map(|(key, _)| if let Key::Layer(path) = key { Some(path.as_str()) } else { None })
    }

    /// The form of a node: of its layer, of its kind, of its family, or the default.
    pub(super) fn form(&self, node: &Node) -> Form {
        let of_layer = |path: &str| {
            let of = self.forms.iter().rev().find(|(key, _)| matches!(key, Key::Layer(layer) if layer == path));
            of.map(|entry| entry.1)
        };
        let own = super::layer_path(node).and_then(of_layer);
        own.unwrap_or_else(|| self.form_of_kind(forms::of(&node.op).kind))
    }
}

impl FromStr for Options {
    type Err = Error;

    /// Choices between commas: `space=reduced`, `fold=off`, `KIND=FORM`, `layer PATH=FORM`; nothing for the default.
    fn from_str(text: &str) -> Result<Self> {
        let mut options = Options::default();
        for choice in text.split(',').map(str::trim).filter(|choice| !choice.is_empty()) {
            let (key, value) = choice
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .ok_or_else(|| Error::argument(format!("`{choice}` is no choice; write `kind=form`")))?;
            if key == "space" {
                options.space = match value {
                    "full" => Space::Full,
                    "reduced" => Space::Reduced,
                    _ => {
                        return Err(Error::argument(format!(
                            "there is no space `{value}`; there are full and reduced"
                        )));
                    }
                };
            } else if key == "fold" {
                options.fold = match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err(Error::argument(format!("`fold={value}`: it can be on or off"))),
                };
            } else if let Some(path) = key.strip_prefix("layer ") {
                options.set_layer(path.trim(), value.parse()?);
            } else {
                options.set(key, value.parse()?)?;
            }
        }
        Ok(options)
    }
}

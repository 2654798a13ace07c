//! Modules that no file holds as they are: layers made from their attributes, and chains of modules.

use std::{collections::HashSet, sync::Arc};

use super::{Body, Layer, Module, read};
use crate::{
    Error, Result,
    load::{assemble_in_memory, layers},
    tensor::Tensor,
};

impl Module {
    /// One of torch's own layers, as a file would hold it. `class` is its short name, `Linear`; `attributes` are those
    /// that torch stores of it, as Python writes arguments: `kernel_size=(2, 2), ceil_mode=True`; `tensors` are its
    /// parameters, `None` for one that is not there.
    ///
    /// ```
    /// use native_torch::{load::Module, tensor::Tensor};
    ///
    /// let weight = Tensor::from_slice(&[1, 2], &[3.0, 4.0]);
    /// let tensors = [("weight", Some(weight)), ("bias", None)];
    /// let linear = Module::layer_of("Linear", "in_features=2, out_features=1", &tensors)?;
    /// assert_eq!(linear.describe(), "Linear(in_features=2, out_features=1, bias=False)");
    /// # Ok::<(), native_torch::Error>(())
    /// ```
    pub fn layer_of(class: &str, attributes: &str, tensors: &[(&str, Option<Tensor>)]) -> Result<Self> {
        let family = layers::family(class)
            .ok_or_else(|| Error::argument(format!("no layer is called {class}; known are {}", layers::known())))?;
        let mut storages = Vec::new();
        let mut parameters = Vec::new();
        for (name, tensor) in tensors {
            let code = match tensor {
                None => b"N".to_vec(),
                Some(tensor) => {
                    let key = storages.len().to_string();
                    let numbers: Vec<f64> = tensor.to_vec()?;
                    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                    let code = code::tensor(&key, tensor.shape());
                    storages.push((key, bytes));
                    code
                }
            };
            parameters.push([code::text(name), code].concat());
        }
        let state = [
            [code::text("_parameters"), code::dict(&parameters)].concat(),
            [code::text("_buffers"), code::dict(&[])].concat(),
            [code::text("_modules"), code::dict(&[])].concat(),
        ];
        let attributes = Arguments { rest: attributes }.entries()?;
        let state = code::dict(&[&state[..], &attributes].concat());
        let object = [format!("ctorch.nn.modules.{family}\n{class}\n").as_bytes(), b")\x81", &state, b"b"].concat();
        let pickle = [b"\x80\x02".as_slice(), &object, b"."].concat();
        let records = assemble_in_memory(&pickle, storages)?;
        let module = read(&records, records.root())?;
        match module.layer() {
            Layer::Unsupported { reason } => Err(Error::unsupported(reason.clone()).at(module.describe())),
            _ => Ok(module),
        }
    }

    /// Modules one after another, each with the path by which errors name it. What several paths share is not copied.
    pub fn chain(parts: &[(&str, &Module)]) -> Result<Self> {
        let mut seen = HashSet::new();
        if let Some((path, _)) = parts.iter().find(|(path, _)| path.is_empty() || !seen.insert(path)) {
            return Err(Error::argument(format!("two modules of a chain have the path `{path}`, or it is empty")));
        }
        let body = Body {
            class: "torch.nn.modules.container.Sequential".to_owned(),
            layer: Layer::Sequential,
            tensors: Vec::new(),
            attributes: Vec::new(),
        };
        let children = parts.iter().map(|(path, module)| module.moved(path)).collect();
        Ok(Module { path: String::new(), body: Arc::new(body), children })
    }

    /// The same module at another path.
    pub fn moved(&self, path: &str) -> Self {
        let renamed = |old: &str| match old.strip_prefix(self.path.as_str()).map(|below| below.trim_start_matches('.'))
        {
            Some(below) if !below.is_empty() => format!("{path}.{below}"),
            _ => path.to_owned(),
        };
        // Children are put together bottom up, without recursion: a module follows all that are in it.
        let mut order: Vec<&Module> = self.modules().collect();
        order.reverse();
        let mut done: Vec<Module> = Vec::new();
        for module in order {
            let children = done.split_off(done.len() - module.children.len());
            let children = children.into_iter().rev().collect();
            done.push(Module { path: renamed(&module.path), body: Arc::clone(&module.body), children });
        }
        done.pop().expect("a module is in itself")
    }
}

/// The arguments of a call in Python: names with literals.
struct Arguments<'a> {
    rest: &'a str,
}

impl Arguments<'_> {
    /// Entries of a dict, as opcodes.
    fn entries(mut self) -> Result<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        self.skip_space();
        while !self.rest.is_empty() {
            let end = self.rest.find('=').ok_or_else(|| self.wrong("name=value"))?;
            let name = self.rest[..end].trim();
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(self.wrong("a name"));
            }
            let name = code::text(name);
            self.rest = &self.rest[end + 1..];
            let value = self.value()?;
            entries.push([name, value].concat());
            self.skip_comma();
        }
        Ok(entries)
    }

    /// A literal: None, True, a number, a text in quotes, a tuple of numbers.
    fn value(&mut self) -> Result<Vec<u8>> {
        self.skip_space();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            let mut elements = b"(".to_vec();
            while !self.rest.starts_with(')') {
                if self.rest.is_empty() {
                    return Err(self.wrong("`)`"));
                }
                elements.extend(self.atom()?);
                self.skip_comma();
            }
            self.rest = &self.rest[1..];
            elements.push(b't');
            return Ok(elements);
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Vec<u8>> {
        self.skip_space();
        if let Some(rest) = self.rest.strip_prefix('\'') {
            let end = rest.find('\'').ok_or_else(|| self.wrong("a text that ends with '"))?;
            self.rest = &rest[end + 1..];
            return Ok(code::text(&rest[..end]));
        }
        let end = self.rest.find([',', ')', ' ']).unwrap_or(self.rest.len());
        let code = match &self.rest[..end] {
            "None" => b"N".to_vec(),
            "True" => b"\x88".to_vec(),
            "False" => b"\x89".to_vec(),
            word => match (word.parse::<i32>(), word.parse::<f64>()) {
                (Ok(int), _) => code::int(int),
                (_, Ok(float)) => [b"G".as_slice(), &float.to_be_bytes()].concat(),
                _ => return Err(self.wrong("a number, a text, True, False or None")),
            },
        };
        self.rest = &self.rest[end..];
        Ok(code)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn skip_comma(&mut self) {
        self.skip_space();
        self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest).trim_start();
    }

    fn wrong(&self, expected: &str) -> Error {
        Error::argument(format!("the attributes are not name=value, ..: {expected} is expected at `{}`", self.rest))
    }
}

/// Opcodes of a pickle that leave one value on the stack.
mod code {
    pub fn text(value: &str) -> Vec<u8> {
        [b"X".as_slice(), &(value.len() as u32).to_le_bytes(), value.as_bytes()].concat()
    }

    pub fn int(value: i32) -> Vec<u8> {
        [b"J".as_slice(), &value.to_le_bytes()].concat()
    }

    /// `entries` are keys, each with its value.
    pub fn dict(entries: &[Vec<u8>]) -> Vec<u8> {
        [b"}(".as_slice(), &entries.concat(), b"u"].concat()
    }

    /// A contiguous tensor of doubles in the storage of this key.
    pub fn tensor(key: &str, shape: &[usize]) -> Vec<u8> {
        let sizes = |sizes: &[usize]| {
            let sizes: Vec<u8> = sizes.iter().flat_map(|&size| long(size)).collect();
            [b"(".as_slice(), &sizes, b"t"].concat()
        };
        let strides = crate::tensor::contiguous_strides(shape);
        let storage = [
            b"(",
            &text("storage")[..],
            b"ctorch\nDoubleStorage\n",
            &text(key),
            &text("cpu"),
            &long(shape.iter().product()),
            b"tQ",
        ];
        let arguments = [&storage.concat()[..], &int(0), &sizes(shape), &sizes(&strides), b"\x89"].concat();
        [b"ctorch._utils\n_rebuild_tensor_v2\n(".as_slice(), &arguments, b"ccollections\nOrderedDict\n)RtR"].concat()
    }

    fn long(value: usize) -> Vec<u8> {
        [b"\x8a\x09".as_slice(), &(value as u64).to_le_bytes(), b"\0"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Dim;

    #[test]
    fn load_makes_layers_of_their_attributes() {
        let pool =
            Module::layer_of("MaxPool2d", "kernel_size=(2, 3), stride=2, padding=0, dilation=1, ceil_mode=True", &[]);
        assert!(pool.unwrap().describe().starts_with("MaxPool2d(kernel_size=(2, 3), stride=(2, 2)"));
        let gelu = Module::layer_of("GELU", "approximate='tanh'", &[]).unwrap();
        assert_eq!(gelu.describe(), "GELU(approximate='tanh')");
        let softplus = Module::layer_of("Softplus", "beta=0.5, threshold=1e1", &[]).unwrap();
        assert_eq!(softplus.describe(), "Softplus(beta=0.5, threshold=10.0)");
        for (class, attributes, expected) in [
            ("Wrong", "", "no layer is called Wrong"),
            ("GELU", "approximate", "name=value"),
            ("GELU", "approximate='ta", "ends with '"),
            ("Softplus", "beta=x", "a number"),
            ("MaxPool2d", "kernel_size=(2", "`)`"),
            ("MaxPool2d", "", "attribute `kernel_size` is missing"),
        ] {
            let error = Module::layer_of(class, attributes, &[]).unwrap_err();
            assert!(error.message().contains(expected), "{}", error.message());
        }
    }

    #[test]
    fn load_chains_modules_under_their_paths() {
        let weight = Tensor::from_slice(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let linear =
            Module::layer_of("Linear", "in_features=2, out_features=2", &[("weight", Some(weight)), ("bias", None)]);
        let (linear, relu) = (linear.unwrap(), Module::layer_of("ReLU", "", &[]).unwrap());
        let inner = Module::chain(&[("0", &linear), ("1", &relu)]).unwrap();
        let outer = Module::chain(&[("a", &inner), ("b", &linear)]).unwrap();
        let paths: Vec<&str> = outer.modules().map(Module::path).collect();
        assert_eq!(paths, ["", "a", "a.0", "a.1", "b"]);
        assert_eq!(outer.modules().nth(4).unwrap().class(), "torch.nn.modules.linear.Linear");
        let graph = outer.graph(Some(&[Dim::Size(2)])).unwrap();
        assert_eq!(graph.nodes()[1].scope, "layer `a.1` (torch.nn.modules.activation.ReLU)");
        assert!(Module::chain(&[("a", &relu), ("a", &relu)]).unwrap_err().message().contains("`a`"));
    }
}

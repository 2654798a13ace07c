//! Which engine computes, and where.

use std::{fmt, str::FromStr};

use crate::{Error, Result};

/// Where tensors lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// In the machine's memory.
    Cpu,
    /// On the CUDA device of this number.
    Cuda(u16),
}

/// What computes a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The engine of this crate, on the CPU.
    Native,
    /// libtorch, in a library of its own: see [`libtorch`](super::libtorch).
    Libtorch(Device),
}

impl FromStr for Device {
    type Err = Error;

    /// Reads `cpu`, `cuda` (which is `cuda:0`) or `cuda:1`.
    fn from_str(text: &str) -> Result<Self> {
        let number = |index: &str| index.parse().ok().map(Device::Cuda);
        match text {
            "cpu" => Some(Device::Cpu),
            "cuda" => Some(Device::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(number),
        }
        .ok_or_else(|| Error::argument(format!("device is \"{text}\"; \"cpu\", \"cuda\" and \"cuda:1\" are known")))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Backend {
    /// The backend `native` or `libtorch` on a device, of which the native engine knows the CPU alone.
    pub fn named(name: &str, device: Device) -> Result<Self> {
        match (name, device) {
            ("native", Device::Cpu) => Ok(Backend::Native),
            ("native", Device::Cuda(_)) => Err(Error::argument(format!(
                "the native engine computes on the CPU; use backend \"libtorch\" for the device \"{device}\""
            ))),
            ("libtorch", device) => Ok(Backend::Libtorch(device)),
            (other, _) => {
                Err(Error::argument(format!("backend is \"{other}\"; \"native\" and \"libtorch\" are known")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_backends_have_names() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("cuda:12", Device::Cuda(12))] {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:70000"] {
            assert!(wrong.parse::<Device>().unwrap_err().message().contains("cuda:1"));
        }
        assert_eq!(Backend::named("libtorch", Device::Cuda(1)).unwrap(), Backend::Libtorch(Device::Cuda(1)));
        assert!(Backend::named("native", Device::Cuda(0)).unwrap_err().message().contains("libtorch"));
        assert!(Backend::named("torch", Device::Cpu).is_err());
    }
}

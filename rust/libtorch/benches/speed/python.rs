//! torch in Python, as `baseline.py` times it.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    rc::Rc,
};

use native_torch_bench::Sampler;

struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// A Python that waits for the names of ways.
#[derive(Clone)]
pub struct Python(Rc<RefCell<Worker>>);

impl Python {
    /// Starts `python` on the models of this folder.
    pub fn start(python: &Path, models: &Path) -> std::io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/speed/baseline.py");
        let mut command = Command::new(python);
        command.arg(script).arg("serve").arg(models).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let to = child.stdin.take().expect("it is piped");
        let from = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self(Rc::new(RefCell::new(Worker { child, to, from }))))
    }

    /// Samples of the way of this name, after a first one.
    pub fn sampler(&self, name: &str) -> Sampler<'static> {
        let (worker, name) = (self.0.clone(), name.to_owned());
        let sampler = move || worker.borrow_mut().sample(&name);
        sampler();
        Box::new(sampler)
    }
}

impl Worker {
    fn sample(&mut self, name: &str) -> f64 {
        writeln!(self.to, "{name}").expect("Python reads");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("Python answers");
        line.trim().parse().unwrap_or_else(|_| panic!("Python has no time for `{name}`; what it says is above"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

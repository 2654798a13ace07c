//! The native engine and the libtorch backend beside libtorch through `tch`, and beside torch in Python: medians of
//! samples that alternate, on one thread. `cargo xtask bench libtorch` runs it, and says by the environment where the
//! models, Python and the benchmark without libtorch are. With `--write` it becomes `docs/benchmarks-libtorch.md`.

mod python;
mod ways;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use native_torch::{
    eval::{Backend, Device, Function, libtorch},
    graph::{Dim, Graph, Unary},
    load,
    tensor::DType,
};
use native_torch_bench::{
    Call, Report, Sampler, caller, medians, micro,
    nets::{self, Case, numbers},
    sampler,
};
use python::Python;
use tch::{CModule, Kind, Tensor, no_grad};

/// A way with its samples.
type Timed<'a> = (String, Sampler<'a>);

/// What the issue expects of libtorch's own time, at most by this factor.
const TOLERANCE: f64 = 1.3;

/// A call of this project.
struct Ours<'a> {
    of: String,
    /// How many times as fast as libtorch it is to be, where it is asked.
    asked: Option<f64>,
    /// It is compared with the fastest of the ways whose names begin so.
    against: &'static str,
    sampler: Sampler<'a>,
}

/// A call of a model: a row of the table for each of ours.
struct Row<'a> {
    case: String,
    call: Call,
    ours: Vec<Ours<'a>>,
    theirs: Vec<Timed<'a>>,
    /// What libtorch took where the issue was written, in microseconds.
    expected: Option<f64>,
}

/// The rows of all tables, which are measured together.
#[derive(Default)]
struct Tables {
    baselines: Vec<[String; 6]>,
    ways: Vec<[String; 4]>,
}

fn verdict(holds: bool) -> String {
    if holds { "yes" } else { "NO" }.to_owned()
}

impl Tables {
    /// Measures a row, and adds it to the table of the report that was begun last.
    fn measure(&mut self, report: &mut Report, row: Row) {
        let (names, theirs): (Vec<String>, Vec<Sampler>) = row.theirs.into_iter().unzip();
        let mut samplers = theirs;
        let mut asked = Vec::new();
        for ours in row.ours {
            samplers.push(ours.sampler);
            asked.push((ours.of, ours.asked, ours.against));
        }
        let times = medians(&mut samplers);
        let (theirs, ours) = times.split_at(names.len());
        let fastest = |against: &str| {
            let counted = (0..names.len()).filter(|&way| names[way].starts_with(against));
            counted.min_by(|&a, &b| theirs[a].total_cmp(&theirs[b])).expect("there is a way")
        };
        let best = fastest("");
        for ((of, asked, against), time) in asked.into_iter().zip(ours) {
            let best = fastest(against);
            let ratio = theirs[best] / time;
            report.row(&[
                row.case.clone(),
                row.call.name().to_owned(),
                of,
                micro(*time),
                micro(theirs[best]),
                names[best].clone(),
                format!("{ratio:.2}"),
                asked.map_or(String::new(), |asked| asked.to_string()),
                asked.map_or(String::new(), |asked| verdict(ratio >= asked)),
            ]);
        }
        if let Some(expected) = row.expected {
            let ratio = theirs[best] * 1e6 / expected;
            self.baselines.push([
                row.case.clone(),
                row.call.name().to_owned(),
                format!("{expected}"),
                micro(theirs[best]),
                format!("{ratio:.2}"),
                verdict(ratio <= TOLERANCE),
            ]);
        }
        for (name, time) in names.into_iter().zip(theirs) {
            self.ways.push([row.case.clone(), row.call.name().to_owned(), name, micro(*time)]);
        }
    }
}

/// The largest difference, relative to the largest number.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    found.iter().zip(expected).fold(0.0, |m, (a, b)| if (a - b).abs() <= m { m } else { (a - b).abs() }) / largest
}

/// The result at the first point.
fn result(f: &Function, call: Call) -> Vec<f64> {
    let (mut workspace, x, mu) = (f.workspace(), numbers(f.n(), 1.0), numbers(f.m(), 1.0));
    let mut out = vec![0.0; f.m() * if call == Call::Value { 1 } else { f.n() }];
    match call {
        Call::Value => f.value(&mut workspace, &x, &mut out),
        Call::Jacobian => f.jacobian(&mut workspace, &x, native_torch::eval::Order::RowMajor, &mut out),
        Call::Hessian => {
            out = vec![0.0; f.n() * f.n()];
            f.hessian(&mut workspace, &x, &mu, &mut out)
        }
    }
    .expect("lengths fit");
    out
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).expect("it is a vector of doubles")
}

/// Samples of a way, whose result is compared first. An executor of TorchScript looks at a few calls before it optimises;
/// those that take long have nothing to gain from it.
fn checked<'a>(name: String, call: impl Fn(usize) -> Tensor + 'a, expected: &'a [f64], tolerance: f64) -> Timed<'a> {
    let started = Instant::now();
    for _ in 0..4 {
        let far = distance(&flat(&call(0)), expected);
        assert!(far < tolerance, "{name} differs from the native engine by {far:.1e}");
        if started.elapsed() > Duration::from_millis(200) {
            break;
        }
        drop(call(1));
    }
    let mut out = vec![0; size_of_val(expected)];
    (name, sampler(move |i| call(i).copy_data_u8(&mut out, expected.len())))
}

/// A net in f64: every way to f, J and H.
fn net(
    tables: &mut Tables,
    report: &mut Report,
    case: &Case,
    python: &Python,
    calls: &[(Call, Option<f64>, Option<f64>)],
) {
    let f = Function::compile(&case.graph, DType::F64).expect("the net compiles");
    let backend = Backend::Libtorch(Device::Cpu);
    let backend = Function::compile_for(&case.graph, DType::F64, backend).expect("the net compiles");
    for &(call, asked, expected) in calls {
        let right = result(&f, call);
        let mut theirs: Vec<Timed> =
            ways::ways(&case.graph, call).into_iter().map(|way| checked(way.name, way.call, &right, 1e-11)).collect();
        theirs.push(("this project's backend".to_owned(), sampler(caller::<f64>(&backend, call, 1, 1))));
        if case.name.starts_with("784") {
            let names: &[&str] = match call {
                Call::Value => &["f"],
                Call::Jacobian => &["jacrev", "jacfwd"],
                Call::Hessian => &["hessian", "jacrev of jacrev"],
            };
            theirs.extend(names.iter().map(|name| (format!("Python, {name}"), python.sampler(name))));
        }
        let sampler = sampler(caller::<f64>(&f, call, 1, 1));
        let ours = vec![Ours { of: "native".to_owned(), asked, against: "", sampler }];
        tables.measure(report, Row { case: case.name.clone(), call, ours, theirs, expected });
    }
}

const IMAGE: [usize; 4] = [1, 3, 224, 224];

fn dims(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|&size| Dim::Size(size)).collect()
}

fn graph(path: &Path, sizes: &[usize]) -> Graph {
    let graph = load::open(path).and_then(|file| file.model()).and_then(|model| model.graph_of(&[dims(sizes)]));
    graph.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The forms of a model of torchvision, and the ends of their files' names.
const FORMS: [(&str, &str); 3] = [("traced", ""), ("frozen", "_frozen"), ("channels last", "_last")];

/// A model of torchvision in f32: f of the native engine beside the fastest form, and of the backend beside the same file.
fn vision(tables: &mut Tables, report: &mut Report, models: &Path, name: &str) {
    let native = graph(&models.join(format!("{name}.pt")), &IMAGE);
    let native = Function::compile(&native, DType::F32).expect("the model compiles");
    let right = result(&native, Call::Value);
    let points: [Vec<u8>; 2] = [1.0, 0.5]
        .map(|scale| numbers(native.n(), scale).into_iter().flat_map(|number| (number as f32).to_ne_bytes()).collect());
    let sizes = &IMAGE.map(|size| size as i64);
    let backends = FORMS.map(|(_, end)| {
        let model = load::open(models.join(format!("{name}{end}.pt"))).and_then(|file| file.model());
        let compile =
            |model| Function::of_model(&model, Some(&[dims(&IMAGE)]), &[], DType::F32, Backend::Libtorch(Device::Cpu));
        model.and_then(compile).expect("the backend takes the model")
    });
    let mut ours = vec![Ours {
        of: "native".to_owned(),
        asked: Some(0.7),
        against: "",
        sampler: sampler(caller::<f32>(&native, Call::Value, 1, 1)),
    }];
    let mut theirs = Vec::new();
    for ((form, end), backend) in FORMS.into_iter().zip(&backends) {
        for (suffix, optimise) in [("", true), (", not optimised", false)] {
            let module = CModule::load(models.join(format!("{name}{end}.pt"))).expect("tch loads the model");
            let points = &points;
            let call = move |i: usize| {
                tch::jit::set_graph_executor_optimize(optimise);
                let x = Tensor::from_data_size(&points[i % 2], sizes, Kind::Float);
                let y = no_grad(|| module.forward_ts(&[x])).expect("the model runs");
                // It holds for the whole process, the backend included.
                tch::jit::set_graph_executor_optimize(true);
                y
            };
            theirs.push(checked(format!("{form}{suffix}"), call, &right, 1e-4));
        }
        let sampler = sampler(caller::<f32>(backend, Call::Value, 1, 1));
        ours.push(Ours { of: format!("libtorch backend, {form}"), asked: Some(0.95), against: form, sampler });
    }
    let case = format!("{name} 224 x 224, f32");
    tables.measure(report, Row { case, call: Call::Value, ours, theirs, expected: None });
}

/// From the file to the first value.
fn loading(report: &mut Report, models: &Path, python: &Python) {
    report.table(
        "A `.pt2` of 100 MB, to its first value in f32",
        &["file", "ms, native", "ms, `torch.export.load`", "ratio", "asked", "reached"],
    );
    for (name, sizes) in [("resnet50_64", &[1, 3, 64, 64][..]), ("resnet50_224", &IMAGE), ("mlp", &[2500])] {
        let path = models.join(format!("{name}.pt2"));
        let ours = sampler(|_| {
            let f = Function::compile(&graph(&path, sizes), DType::F32).expect("the model compiles");
            let (x, mut y) = (vec![0.5f32; f.n()], vec![0.0f32; f.m()]);
            f.value(&mut f.workspace(), &x, &mut y).expect("lengths fit");
        });
        let times = medians(&mut [ours, python.sampler(&format!("load {name}"))]);
        let ratio = times[1] / times[0];
        let [ours, theirs] = [times[0], times[1]].map(|time| format!("{:.1}", time * 1e3));
        report.row(&[name.to_owned(), ours, theirs, format!("{ratio:.1}"), "10".to_owned(), verdict(ratio >= 10.0)]);
    }
    report.line(
        "\nWhat torch spends on each node is saved. What is left is the forward pass, most of the native time of an image of \
         224 x 224, and reading and checking 100 MB once, all of the time of an mlp of two layers: it cannot be ten times \
         as fast as one that reads them as well.",
    );
}

/// What a process without libtorch takes for a forward pass.
fn memory(report: &mut Report, models: &Path, program: &Path) {
    report.table(
        "Most memory of a forward pass in f32, from the file on",
        &["file", "MB, weights", "MB, activations alive at once", "MB, allowed", "MB, resident at most", "reached"],
    );
    let image = "1,3,224,224";
    for (file, sizes) in
        [("resnet18.pt", image), ("mobilenet_v2.pt", image), ("resnet50_224.pt2", image), ("mlp.pt2", "2500")]
    {
        let output = Command::new(program).arg("memory").arg(models.join(file)).arg(sizes).output();
        let text = String::from_utf8(output.expect("the benchmark starts").stdout).expect("it prints text");
        let parsed: Vec<f64> =
            text.split_whitespace().map(|number| number.parse().expect("it prints numbers")).collect();
        let [weights, alive, most] = parsed[..] else { panic!("{file}: its memory could not be measured") };
        let allowed = weights + 2.0 * alive + 16.0;
        let cells = [weights, alive, allowed, most].map(|number| format!("{number:.1}"));
        report.row(&[&[file.to_owned()], &cells[..], &[verdict(most <= allowed)]].concat());
    }
}

fn nets_of_tables(tables: &mut Tables, report: &mut Report, python: &Python) {
    use Call::{Hessian, Jacobian, Value};
    let calls = [Value, Jacobian, Hessian];
    // What is asked, and what libtorch took where it was asked.
    for (widths, asked, expected) in [
        ([10, 50, 50, 1], [Some(8.0), Some(50.0), Some(30.0)], [16.0, 113.0, 267.0]),
        ([100, 200, 200, 50], [None, Some(3.5), Some(5.0)], [32.0, 659.0, 2037.0]),
        ([784, 512, 512, 10], [Some(1.1), Some(2.3), Some(2.3)], [138.0, 1666.0, 115_000.0]),
    ] {
        let calls: Vec<_> = (0..3).map(|i| (calls[i], asked[i], Some(expected[i]))).collect();
        net(tables, report, &nets::layers(&widths, Unary::Tanh, None), python, &calls);
    }
    let calls = calls.map(|call| (call, Some(2.0), None));
    net(tables, report, &nets::digits(Unary::Tanh), python, &calls);
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; run `cargo xtask bench libtorch`")).into()
}

fn main() {
    let models = variable("NATIVE_TORCH_MODELS");
    let python = variable("NATIVE_TORCH_PYTHON");
    let program = variable("NATIVE_TORCH_BENCH");
    tch::set_num_threads(1);
    let here = env::current_exe().expect("this program is a file");
    let library = here.ancestors().nth(2).expect("it lies in `deps`").join("libnative_torch_libtorch.so");
    let info = libtorch::open(Some(&library)).expect("the backend opens");
    let python = Python::start(&python, &models).expect("Python starts");

    let (mut report, mut tables) = (Report::default(), Tables::default());
    report.line("# Benchmarks against libtorch");
    report.line("");
    report.line(&format!(
        "Written by `cargo xtask bench libtorch --write`: medians of one run, on one thread; the samples of a row alternate.\n\
         libtorch {} through tch, derivatives by autograd: the fastest of the ways in the last table counts. Each call \
         takes a slice\nof numbers and fills one, as solvers ask. Of the models of torchvision the native engine reads the traced file and is \
         compared with the fastest\nform of all; the backend is compared with tch on the same file.",
        info.version
    ));
    report.table(
        "f, J and H",
        &["model", "call", "of", "us", "us, libtorch", "its fastest way", "ratio", "asked", "reached"],
    );
    nets_of_tables(&mut tables, &mut report, &python);
    for name in ["resnet18", "mobilenet_v2"] {
        vision(&mut tables, &mut report, &models, name);
    }
    loading(&mut report, &models, &python);
    memory(&mut report, &models, &program);
    report.table(
        "libtorch here and where the thresholds were set",
        &["model", "call", "us, there", "us, here", "ratio", "at most 1.3"],
    );
    tables.baselines.iter().for_each(|row| report.row(row));
    report.table("The ways of libtorch", &["model", "call", "way", "us"]);
    tables.ways.iter().for_each(|row| report.row(row));

    if env::args().any(|argument| argument == "--write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks-libtorch.md");
        std::fs::write(path, report.text()).expect("docs/benchmarks-libtorch.md can be written");
    }
}

//! The conformance suite through the C ABI.

mod abi;
mod foreign;

use std::ffi::{CStr, CString, c_void};

use foreign::*;
use native_torch_conformance::{Function, Kind, Model, Order, Outcome, Precision, suite};

suite!(Foreign);

/// What computes.
fn backend() -> &'static CStr {
    c"native"
}

/// The fixtures of two inputs and of integers, which the suite's interface does not speak of.
mod inputs {
    use std::path::{Path, PathBuf};

    use native_torch_conformance::Api;
    use serde_json::Value;

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models/inputs")
    }

    fn json(name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
    }

    fn open(name: &str) -> ForeignModel {
        Foreign::open(&folder().join(format!("{name}.pt"))).unwrap()
    }

    impl ForeignModel {
        fn with_inputs(&self, shapes: &[Vec<usize>], integers: Option<&[i64]>) -> Outcome<ForeignModel> {
            let ranks: Vec<usize> = shapes.iter().map(Vec::len).collect();
            let (sizes, integers) = (shapes.concat(), read_or_null(integers));
            // SAFETY: the handle lives, slices are those of Rust, and the out-pointer may be written to.
            made(|out| unsafe { (C.nt_model_with_inputs)(self.0, read(&ranks), read(&sizes), integers, out) })
                .map(ForeignModel)
        }

        /// Names, whether they are integers, and shapes.
        fn inputs(&self) -> Vec<(String, bool, Option<Vec<usize>>)> {
            // SAFETY: the handle lives, the out-pointer may be written to.
            let table = get(|out| unsafe { (C.nt_model_inputs)(self.0, out) }).unwrap();
            let count = table.count;
            let starts = array(table.shape_starts, count + 1);
            let sizes = array(table.sizes, starts[count]);
            let (integer, known) = (array(table.is_integer, count), array(table.has_shape, count));
            let names = strings(table.names, count).into_iter().enumerate();
            names
                .map(|(i, name)| {
                    (name, integer[i] == 1, (known[i] == 1).then(|| sizes[starts[i]..starts[i + 1]].to_vec()))
                })
                .collect()
        }
    }

    #[track_caller]
    fn assert_equal(name: &str, found: &[f64], expected: &Value) {
        let expected: Vec<f64> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let close = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-12 * largest);
        assert!(close, "{name}: {found:?} is not {expected:?}");
    }

    #[test]
    fn models_of_several_inputs_are_those_of_torch() {
        let names: Vec<String> = serde_json::from_value(json("index.json")).unwrap();
        for name in names {
            let torch = json(&format!("{name}.json"));
            let numbers = |key: &str| -> Vec<f64> { serde_json::from_value(torch[key].clone()).unwrap() };
            let shapes: Vec<Vec<usize>> = serde_json::from_value(torch["shapes"].clone()).unwrap();
            let integers: Vec<i64> = serde_json::from_value(torch["integers"].clone()).unwrap();
            let bare = open(&name);
            let (of_integers, inputs) = (name.starts_with("embedding"), bare.inputs());
            assert_eq!(inputs.len(), shapes.len(), "{name}");
            assert!(inputs.iter().all(|(_, integer, _)| *integer == of_integers), "{name}");
            let model = bare.with_inputs(&shapes, of_integers.then_some(&*integers)).unwrap();
            // What was made shares what it needs.
            drop(bare);
            let left = if of_integers { 0 } else { 2 };
            assert_eq!(model.inputs().into_iter().filter_map(|(_, _, shape)| shape).count(), left, "{name}");
            let f = model.compile(None, Precision::Double).unwrap();
            let (x, mu, mut w) = (numbers("x"), numbers("mu"), f.workspace().unwrap());
            let signature = f.signature().unwrap();
            let (n, m) = (signature.n, signature.m);
            assert_eq!((n, m, signature.inputs.len()), (x.len(), mu.len(), left), "{name}");
            let (mut y, mut j, mut h) = (vec![0.0; m], vec![0.0; m * n], vec![0.0; n * n]);
            f.value(&mut w, &x, &mut y).unwrap();
            f.jacobian(&mut w, &x, Order::RowMajor, &mut j).unwrap();
            f.hessian(&mut w, &x, &mu, Order::RowMajor, &mut h).unwrap();
            assert_equal(&name, &y, &torch["y"]);
            assert_equal(&name, &j, &torch["jacobian"]);
            assert_equal(&name, &h, &torch["hessian"]);
            let (lower, upper): (Vec<f64>, Vec<f64>) = x.iter().map(|x| (x - 0.1, x + 0.1)).unzip();
            let (_, _, found) = model.formulate(None, (&lower, &upper), "", None, &x).unwrap();
            for (found, y) in found.iter().zip(&y) {
                assert!((found - y).abs() <= 1e-11 * y.abs().max(1.0), "{name}: {found} is not {y}");
            }
        }
    }

    /// What a caller's solver is handed: how often it is called, after how many calls it ends the work, and the rows of
    /// its programs.
    #[derive(Default)]
    struct Solving {
        calls: usize,
        last: usize,
        rows: Vec<usize>,
    }

    /// A solver that knows no more than the formulation's own bounds, and takes their upper ends for its solutions.
    extern "C" fn solve(
        data: *mut c_void,
        formulation: *const CFormulation,
        elements: *const u32,
        count: usize,
        integer: u8,
        rounds: u32,
        lower: *mut f64,
        upper: *mut f64,
        points: *mut f64,
    ) -> u8 {
        // SAFETY: the data is the record of the test, and the arrays have `count` entries.
        let (own, elements, lower, upper) = unsafe {
            (
                &mut *data.cast::<Solving>(),
                std::slice::from_raw_parts(elements, count),
                std::slice::from_raw_parts_mut(lower, count),
                std::slice::from_raw_parts_mut(upper, count),
            )
        };
        own.calls += 1;
        assert!(integer == 0 && count > 0);
        // SAFETY: the formulation lives through the call; the tables own nothing.
        let tables = get(|out| unsafe { (C.nt_formulation_tables)(formulation, out) }).unwrap();
        let (lows, highs) = (
            array(tables.variables.lower, tables.variables.count),
            array(tables.variables.upper, tables.variables.count),
        );
        for (k, &element) in elements.iter().enumerate() {
            (lower[k], upper[k]) = (lows[element as usize], highs[element as usize]);
        }
        own.rows.push(tables.rows.count);
        if !points.is_null() {
            assert_eq!(rounds, 2);
            // SAFETY: there is room for two solutions of each element.
            let points = unsafe { std::slice::from_raw_parts_mut(points, 2 * count * highs.len()) };
            points.chunks_mut(highs.len()).for_each(|point| point.copy_from_slice(&highs));
        }
        u8::from(own.calls < own.last)
    }

    #[test]
    #[allow(clippy::undocumented_unsafe_blocks)]
    fn callers_solve_programs() {
        let model = Foreign::open(&folder().parent().unwrap().join("nets/mlp_relu.pt")).unwrap();
        let (lower, upper) = ([-1.0; 4], [1.0; 4]);
        let bounds = |method: u32, solving: Option<&mut Solving>| {
            let options = CBoundsOptions {
                threads: 1,
                time_limit: 0.0,
                solver: std::ptr::null(),
                row_starts: read_or_null(None),
                row_elements: read_or_null(None),
                row_coefficients: read_or_null(None),
                row_lower: read_or_null(None),
                row_upper: read_or_null(None),
                progress: None,
                solve: solving.is_some().then_some(solve as CSolve),
                data: solving.map_or(std::ptr::null_mut(), |solving| std::ptr::from_mut(solving).cast()),
            };
            let (shape, lower, upper) = (read_or_null(None), read(&lower), read(&upper));
            let create = |out| unsafe { (C.nt_bounds_create)(model.0, shape, lower, upper, method, &options, out) };
            let bounds = ForeignBounds(made(create).unwrap());
            let tables = get(|out| unsafe { (C.nt_bounds_tables)(bounds.0, out) }).unwrap();
            let count = array(tables.starts, tables.count + 1)[tables.count];
            (array(tables.lower, count), array(tables.upper, count), tables.solved, tables.cancelled)
        };
        let linear = bounds(1, None);
        let mut solving = Solving { last: usize::MAX, ..Solving::default() };
        let by_caller = bounds(2, Some(&mut solving));
        assert_eq!((&by_caller.0, &by_caller.1), (&linear.0, &linear.1));
        assert!(by_caller.2 > 0 && by_caller.3 == 0 && solving.calls > 1);
        // The solutions violate cuts, which the next programs of the same elements have.
        assert!(solving.rows.windows(2).any(|rows| rows[1] > rows[0]), "{:?}", solving.rows);
        let mut ending = Solving { last: 1, ..Solving::default() };
        assert_eq!((bounds(2, Some(&mut ending)).3, ending.calls), (1, 1));
    }

    #[test]
    fn inputs_are_listed() {
        let bilinear = open("bilinear").inputs();
        let names: Vec<&str> = bilinear.iter().map(|(name, ..)| &**name).collect();
        assert_eq!(names, ["input1", "input2"]);
        assert!(bilinear.iter().all(|(_, _, shape)| shape.as_ref().is_some_and(|shape| shape[0] == usize::MAX)));
        assert_eq!(open("embedding").inputs(), [("input".to_owned(), true, None)]);
    }

    #[test]
    fn wrong_inputs_are_named() {
        let embedding = open("embedding_net");
        let message = |model: &ForeignModel, shapes: &[Vec<usize>], integers: Option<&[i64]>| {
            let failure = model.with_inputs(shapes, integers).err().unwrap();
            assert_eq!(failure.kind, Kind::Argument);
            failure.message
        };
        let shape = [vec![2, 3]];
        let of = |integers: &[i64]| message(&embedding, &shape, Some(integers));
        assert!(of(&[0; 5]).contains("5 integers were given, but 6 are expected: 6 for `input` [2, 3]"));
        assert!(message(&embedding, &shape, None).contains("0 integers were given, but 6"));
        let huge = embedding.with_inputs(&[vec![usize::MAX - 1, 3]], None).err().unwrap();
        assert_eq!(huge.kind, Kind::Unsupported);
        for wrong in [-1, 1 << 24, i64::MAX] {
            let expected = format!("index 4 is {wrong}, but the table has the rows 0 to ");
            assert!(of(&[0, 0, 0, 0, wrong, 0]).contains(&expected), "{}", of(&[0, 0, 0, 0, wrong, 0]));
        }
        let two = [vec![2, 3], vec![2]];
        assert!(message(&embedding, &two, None).contains("the model has 1 input, but 2 were given"));
        let bilinear = open("bilinear");
        assert!(message(&bilinear, &shape, None).contains("the model has 2 inputs, but 1 were given"));
        assert!(message(&bilinear, &two, None).contains("the input has shape [2, 3]"));
        let missing = embedding.compile(Some(&[2, 3]), Precision::Double).err().unwrap().message;
        assert!(missing.contains("`input` holds integers"), "{missing}");
        let given = embedding.with_inputs(&shape, Some(&[0; 6])).unwrap();
        let twice = given.compile(Some(&[2, 3]), Precision::Double).err().unwrap().message;
        assert!(twice.contains("pass NULL"), "{twice}");
        let mut out = std::ptr::dangling_mut();
        // SAFETY: the handle lives, slices are those of Rust, and the out-pointer may be written to.
        let status =
            unsafe { (C.nt_model_with_inputs)(given.0, read(&[3]), read(&[1, 2]), read_or_null(None), &mut out) };
        assert!(check(status).err().unwrap().message.contains("2 sizes are given, but the ranks add up to 3"));
        assert!(out.is_null());
    }

    #[test]
    fn models_are_written_for_torch() {
        let given = open("embedding").with_inputs(&[vec![2, 3]], Some(&[1, 0, 2, 0, 1, 1])).unwrap();
        let written = std::env::temp_dir().join(format!("native-torch-write-{}", std::process::id()));
        std::fs::create_dir_all(&written).unwrap();
        let path = |name: &str| written.join(name).display().to_string();
        let write =
            |model: &ForeignModel, name: &str, format: Option<&str>, dtype: Option<&str>, shape: Option<&[usize]>| {
                let text = |text: &str| CString::new(text).unwrap();
                let (path, format, dtype) = (text(&path(name)), format.map(text), dtype.map(text));
                let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
                let ranks = shape.map(|shape| vec![shape.len()]);
                let (ranks, sizes) = (read_or_null(ranks.as_deref()), read_or_null(shape));
                // SAFETY: the handle lives, strings end with NUL, slices are those of Rust.
                check(unsafe {
                    (C.nt_model_write)(model.0, path.as_ptr(), pointer(&format), pointer(&dtype), ranks, sizes)
                })
            };
        let value = |model: &ForeignModel, shape: Option<&[usize]>, x: &[f64], m: usize| {
            let function = model.compile(shape, Precision::Double).unwrap();
            let mut y = vec![0.0; m];
            function.value(&mut function.workspace().unwrap(), x, &mut y).unwrap();
            y
        };
        // Integers that are given stand in the file.
        write(&given, "words.pt2", None, None, None).unwrap();
        let m = given.compile(None, Precision::Double).unwrap().signature().unwrap().m;
        let words = Foreign::open(Path::new(&path("words.pt2"))).unwrap();
        let words = words.with_inputs(&[], None).unwrap();
        assert_eq!(value(&words, None, &[], m), value(&given, None, &[], m));
        let net = Foreign::open(&folder().join("../nets/mlp_gelu_layernorm.pt")).unwrap();
        for (name, format) in [("net.bin", Some("torchscript")), ("net.pt2", None)] {
            write(&net, name, format, Some("float64"), Some(&[usize::MAX, 5])).unwrap();
            let again = Foreign::open(Path::new(&path(name))).unwrap();
            let x: Vec<f64> = (0..10).map(|i| f64::from(i) / 4.0 - 1.0).collect();
            let m = net.compile(Some(&[2, 5]), Precision::Double).unwrap().signature().unwrap().m;
            assert_eq!(value(&again, Some(&[2, 5]), &x, m), value(&net, Some(&[2, 5]), &x, m));
        }
        for (name, format, dtype, words) in [
            ("net.onnx", None, None, "names no format"),
            ("net.pt2", Some("onnx"), None, "there is no format `onnx`"),
            ("net.pt2", None, Some("float16"), "float64 or float32"),
            ("net.pt2", None, Some("double"), "dtype is `double`"),
        ] {
            let message = write(&net, name, format, dtype, Some(&[2, 5])).err().unwrap().message;
            assert!(message.contains(words), "{message}");
        }
        assert!(write(&given, "x.pt2", None, None, Some(&[2, 3])).err().unwrap().message.contains("pass NULL"));
        std::fs::remove_dir_all(&written).unwrap();
    }
}

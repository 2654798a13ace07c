//! The command as a user runs it: `info`, `eval`, `jacobian`, `hessian`.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../test/models")
}

fn model(name: &str) -> String {
    models().join(format!("{name}.pt")).display().to_string()
}

fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(models().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn run_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_native-torch"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    run_with_input(arguments, &[])
}

/// The one JSON object that a successful run prints.
#[track_caller]
fn json(output: Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The message of a run that fails as it should.
#[track_caller]
fn failure(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(a: &Value, b: &Value) {
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-11 * scale), "{a:?} {b:?}");
}

#[test]
fn values_and_derivatives_are_torchs() {
    for name in ["nets/cnn", "nets/mlp_gelu_layernorm"] {
        let (file, torch) = (model(name), expected(name));
        let input = torch["x"].to_string();
        let sizes: Vec<String> = torch["input_shape"].as_array().unwrap().iter().map(Value::to_string).collect();
        let shape = sizes.join(",");
        let point = ["--input", &input, "--shape", &shape, "--json"];
        let eval = json(run(&[&["eval", &*file], &point[..]].concat()));
        let output = &eval["outputs"][0];
        assert_eq!((&output["name"], &output["dtype"]), (&"output".into(), &"float64".into()));
        assert_eq!(output["shape"], torch["output_shape"]);
        assert_close(&output["data"], &torch["y"]);
        assert!(eval.get("jacobian").is_none());
        let jacobian = json(run(&[&["jacobian", &*file], &point[..]].concat()));
        let (m, n) = (numbers(&torch["y"]).len(), numbers(&torch["x"]).len());
        assert_eq!(jacobian["jacobian"]["shape"], serde_json::json!([m, n]));
        assert_close(&jacobian["jacobian"]["data"], &torch["jacobian"]);
        let mu = torch["mu"].to_string();
        let hessian = json(run(&[&["hessian", &*file, "--mu", &*mu], &point[..]].concat()));
        assert_eq!(hessian["hessian"]["shape"], serde_json::json!([n, n]));
        assert_close(&hessian["hessian"]["data"], &torch["hessian"]);
        assert_close(&hessian["outputs"][0]["data"], &torch["y"]);
        let two = json(run(&[&["eval", &*file, "--threads", "2"], &point[..]].concat()));
        assert_eq!(two, eval);
        let single = json(run(&[&["eval", &*file, "--dtype", "f32"], &point[..]].concat()));
        assert_eq!(single["outputs"][0]["dtype"], "float32");
        let printed = run(&["eval", &file, "--input", &input, "--shape", &shape]);
        assert!(String::from_utf8(printed.stdout).unwrap().starts_with("output ["));
    }
}

#[test]
fn inputs_come_from_text_files_and_standard_input() {
    let name = "nets/mlp_tanh";
    let (file, torch) = (model(name), expected(name));
    let input = torch["x"].to_string();
    let text = json(run(&["eval", &file, "--json", "--input", &input]));
    let piped = json(run_with_input(&["eval", &file, "--json", "--input", "-"], input.as_bytes()));
    let folder = std::env::temp_dir().join(format!("native-torch-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("x.json");
    std::fs::write(&path, &input).unwrap();
    let read = json(run(&["eval", &file, "--json", "--input", &path.display().to_string()]));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((&text, &text), (&piped, &read));
    // A nested list carries its shape: a batch of one.
    let batch = json(run(&["eval", &file, "--json", "--input", &format!("[{input}]")]));
    assert_eq!(batch["outputs"][0]["shape"][0], 1);
    // Weights of one are the default.
    let ones: Value = vec![1.0; numbers(&text["outputs"][0]["data"]).len()].into();
    let given = json(run(&["hessian", &file, "--json", "--input", &input, "--mu", &ones.to_string()]));
    assert_eq!(given, json(run(&["hessian", &file, "--json", "--input", &input])));
}

#[test]
fn numbers_that_are_not_finite_are_strings() {
    let file = model("layers/relu");
    let output = json(run(&["eval", &file, "--json", "--input", r#"["NaN","Infinity","-Infinity",-0.0]"#]));
    assert_eq!(output["outputs"][0]["data"], serde_json::json!(["NaN", "Infinity", 0.0, 0.0]));
}

#[test]
fn info_shows_layers_and_what_is_not_supported() {
    let digits = models().join("../../docs/examples/digits/digits.pt").display().to_string();
    let info = json(run(&["info", &digits, "--verify", "--json"]));
    assert_eq!(info["inputs"][0]["shape"], serde_json::json!(["N", 64]));
    assert_eq!(info["layers"].as_array().unwrap().len(), 3);
    assert_eq!(info["layers"][2]["output_shape"], serde_json::json!(["N", 10]));
    assert_eq!((&info["parameters"], &info["verified"]), (&1210.into(), &true.into()));
    assert_eq!(info["tensors"][0]["name"], "0.weight");
    let text = String::from_utf8(run(&["info", &digits]).stdout).unwrap();
    assert!(text.contains("Linear(in_features=64, out_features=16, bias=True)") && text.contains("1210 parameters"));
    // A module that stands in two places has its parameters once.
    let shared = json(run(&["info", &model("nets/shared_module"), "--json"]));
    let by_layer: u64 = shared["layers"].as_array().unwrap().iter().map(|l| l["parameters"].as_u64().unwrap()).sum();
    assert!(shared["parameters"].as_u64().unwrap() < by_layer);
    for name in ["refused/gru", "refused/custom_skip"] {
        let file = model(name);
        let info = json(run(&["info", &file, "--json"]));
        assert!(!info["unsupported"].as_array().unwrap().is_empty(), "{name}");
        let text = String::from_utf8(run(&["info", &file]).stdout).unwrap();
        assert!(text.contains("not supported"), "{text}");
    }
}

#[test]
fn several_inputs_and_integers_are_given_in_order() {
    let names: Vec<String> = serde_json::from_value(expected("inputs/index")).unwrap();
    for name in names {
        let (file, torch) = (model(&format!("inputs/{name}")), expected(&format!("inputs/{name}")));
        let shapes: Vec<Vec<usize>> = serde_json::from_value(torch["shapes"].clone()).unwrap();
        let of_integers = name.starts_with("embedding");
        let mut rest = numbers(&torch[if of_integers { "integers" } else { "x" }]);
        let mut arguments = Vec::new();
        for shape in shapes {
            let others = rest.split_off(shape.iter().product());
            let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
            let own = serde_json::to_string(&rest).unwrap();
            // A flat list of a single number is taken for a scalar by its brackets alone.
            let own = if shape.is_empty() { own.trim_matches(['[', ']']).to_owned() } else { own };
            arguments.extend(["--input".to_owned(), own]);
            if !shape.is_empty() {
                arguments.extend(["--shape".to_owned(), sizes.join(",")]);
            }
            rest = others;
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let jacobian = json(run(&[&["jacobian", &*file, "--json"], &arguments[..]].concat()));
        assert_close(&jacobian["outputs"][0]["data"], &torch["y"]);
        assert_close(&jacobian["jacobian"]["data"], &torch["jacobian"]);
        let mu = torch["mu"].to_string();
        let hessian = json(run(&[&["hessian", &*file, "--json", "--mu", &*mu], &arguments[..]].concat()));
        assert_close(&hessian["hessian"]["data"], &torch["hessian"]);
        let info = json(run(&["info", &file, "--json"]));
        let dtypes: Vec<&Value> = info["inputs"].as_array().unwrap().iter().map(|input| &input["dtype"]).collect();
        assert_eq!(dtypes, if of_integers { vec!["int64"] } else { vec!["float"; 2] }, "{name}");
    }
    let text = String::from_utf8(run(&["info", &model("inputs/embedding")]).stdout).unwrap();
    assert!(text.contains("input `input` of integers ?"), "{text}");
    let text =
        String::from_utf8(run(&["info", &model("inputs/cosinesimilarity"), "--shape", "2,3", "--shape", "2,3"]).stdout);
    assert!(text.unwrap().contains("input `x2` [2, 3]"));
}

#[test]
fn errors_name_the_thing_and_exit_with_2() {
    let file = model("nets/mlp_tanh");
    let (embedding, bilinear) = (model("inputs/embedding"), model("inputs/bilinear"));
    let cases: [(&[&str], &str); 13] = [
        (&["eval", &embedding, "--input", "[0,1.5]"], "`input`: element 1 is 1.5"),
        (&["eval", &embedding, "--input", "[0,-1]"], "index 1 is -1, but the table has the rows 0 to"),
        (&["eval", &embedding, "--input", "[0,16777217]"], "index 1 is 16777217"),
        (&["eval", &bilinear, "--input", "[0,1]"], "the model has 2 inputs, but 1 were given"),
        (&["eval", "no-such-file.pt", "--input", "[1]"], "no-such-file.pt"),
        (&["eval", &file, "--input", "[1,2]"], "layer `0.0` (torch.nn.modules.linear.Linear)"),
        (&["eval", &file, "--input", "[1,2]", "--shape", "3"], "do not fill the shape"),
        (&["eval", &file, "--input", "[1]", "--input", "[2]"], "has 1 input"),
        (&["eval", &file, "--input", "x"], "neither a file"),
        (&["eval", &file], "--input"),
        (&["hessian", &file, "--input", "[0,0,0,0,0,0,0,0,0,0]", "--mu", "[1,2]"], "--mu has 2 elements"),
        (&["frobnicate"], "frobnicate"),
        (&["info", "/dev/null"], "not a regular file"),
    ];
    for (arguments, words) in cases {
        let message = failure(arguments);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn bounds_are_printed_layer_by_layer() {
    let file = model("nets/mlp_relu");
    let width = |method: &str| {
        let arguments = ["bounds", &file, "--box", "-1,1", "--method", method, "--threads", "1", "--time-limit", "5"];
        let found = json(run(&arguments));
        assert_eq!(found["method"], method);
        let layers = found["layers"].as_array().unwrap();
        assert!(layers[0]["operation"] == "" && layers[1]["operation"] == "linear" && layers.len() > 3);
        let last = layers.last().unwrap();
        assert_eq!(last["output"], true);
        let (lower, upper) = (numbers(&last["lower"]), numbers(&last["upper"]));
        let elements: u64 = last["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).product();
        assert_eq!(lower.len() as u64, elements);
        assert_eq!(found["programs"]["failed"], 0);
        upper.iter().zip(&lower).map(|(u, l)| u - l).sum::<f64>()
    };
    let widths = ["interval", "linear", "lp", "mip"].map(width);
    assert!(widths.windows(2).all(|w| w[1] <= w[0]) && widths[3] < 0.99 * widths[0], "{widths:?}");
    for (arguments, words) in [
        (["--box", "-1,1", "--method", "best"], "there is no method `best`"),
        (["--box", "1,-1", "--method", "lp"], "must not exceed"),
        (["--box", "-1,1", "--time-limit", "-1"], "a number of seconds"),
    ] {
        let message = failure(&[&["bounds", &file][..], &arguments].concat());
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn formulate_writes_what_solve_solves() {
    let file = model("nets/mlp_relu");
    let folder = std::env::temp_dir().join(format!("native-torch-formulate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let problem = ["--box", "-1,1", "--maximize", "y[0] - x[1]", "--where", "x[0] + x[1] <= 1", "--fix", "2=0.5"];
    let write = |options: &str, name: &str| {
        let path = folder.join(name).display().to_string();
        let output = run(&[&["formulate", &file, "--options", options, "-o", &*path], &problem[..]].concat());
        assert!(output.status.success() && output.stdout.is_empty());
        std::fs::read_to_string(path).unwrap()
    };
    let lp = write("", "model.lp");
    assert!(lp.starts_with("Maximize\n obj: - 1.0 input(1) + 1.0 layer~") && lp.contains(" input(2) = 0.5\n"), "{lp}");
    assert!(lp.contains("\nBinaries\n"));
    assert!(write("relu=sos1", "model.mps").contains("\nSOS\n S1 s0\n"));
    let mof: Value = serde_json::from_str(&write("relu=nonlinear", "model.mof.json")).unwrap();
    assert_eq!(mof["objective"]["sense"], "max");
    assert!(write("space=reduced", "model.nl").starts_with("g3 "));
    let columns = std::fs::read_to_string(folder.join("model.col")).unwrap();
    assert_eq!(columns.lines().filter(|name| name.starts_with("input[")).count(), 4);
    std::fs::remove_dir_all(&folder).unwrap();
    // Without a file it is printed; solve takes the same forms.
    let text = String::from_utf8(run(&[&["formulate", &file], &problem[..]].concat()).stdout).unwrap();
    assert!(text.contains("binary") && text.contains("layer `0."), "{text}");
    let solved = |options: &str| json(run(&[&["solve", &file, "--json", "--options", options], &problem[..]].concat()));
    let (big_m, sos1) = (solved(""), solved("relu=sos1"));
    let objective = |answer: &Value| answer["objective"].as_f64().unwrap();
    assert!((objective(&big_m) - objective(&sos1)).abs() < 1e-6);
    for (arguments, words) in [
        (&["formulate", &file, "--box", "-1,1", "-o", "model.txt"][..], "`model.txt` names no format"),
        (&["formulate", &file, "--box", "-1,1", "--options", "relu=best"], "there is no form `best`"),
        (&["formulate", &file, "-o", "model.lp"], "--box is needed"),
        (&["formulate", &file, "--box", "-1,1", "--options", "relu=sos1", "-o", "model.nl"], "choose the form big_m"),
        (&["solve", &file, "--box", "-1,1", "--minimize", "y[0]", "--options", "relu=epigraph"], "epigraph"),
    ] {
        let message = failure(arguments);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn solve_takes_a_method_of_bounds() {
    let file = model("nets/mlp_relu");
    let of = |method: &[&str]| {
        json(run(&[&["solve", &file, "--minimize", "y[0]", "--box", "-1,1", "--json"], method].concat()))
    };
    let plain = of(&[]);
    assert_eq!(plain["status"], "optimal");
    for method in ["interval", "linear", "lp", "mip"] {
        let found = of(&["--bounds", method]);
        let difference = found["objective"].as_f64().unwrap() - plain["objective"].as_f64().unwrap();
        assert!(found["status"] == "optimal" && difference.abs() < 1e-6, "{method}: {found}");
    }
    let both = run(&["solve", &file, "--minimize", "y[0]", "--bounds", "-1,1", "--bounds", "lp", "--json"]);
    assert_eq!(json(both)["status"], "optimal");
    let message = failure(&["solve", &file, "--minimize", "y[0]", "--bounds", "lp"]);
    assert!(message.contains("--box is needed"), "{message}");
}

#[test]
fn models_are_exported_for_torch() {
    let folder = std::env::temp_dir().join(format!("native-torch-export-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, torch) = (model("nets/cnn"), expected("nets/cnn"));
    let sizes: Vec<String> = torch["input_shape"].as_array().unwrap().iter().map(Value::to_string).collect();
    let shape = sizes.join(",");
    let open = format!("N,{}", sizes[1..].join(","));
    let path = |name: &str| folder.join(name).display().to_string();
    for (name, options, kind) in [
        ("a.pt2", &["--shape", &*shape][..], "torch.export.save"),
        ("b.pt", &["--shape", &open], "torch.jit.save"),
        ("c.bin", &["--shape", &open, "--format", "torchscript", "--dtype", "f64"], "torch.jit.save"),
    ] {
        let written = path(name);
        let output = run(&[&["export", &*file, "--output", &written], options].concat());
        assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let point = ["eval", &written, "--input", &torch["x"].to_string(), "--shape", &shape, "--json"];
        assert_close(&json(run(&point))["outputs"][0]["data"], &torch["y"]);
        let info = run(&["info", &written, "--shape", &shape]);
        assert!(String::from_utf8_lossy(&info.stdout).contains(kind), "{}", String::from_utf8_lossy(&info.stdout));
    }
    assert!(failure(&["export", &file, "-o", &path("d.onnx")]).contains("--output"));
    assert!(
        failure(&["export", &file, "-o", &path("d.pt"), "--format", "onnx"]).contains("there are pt2 and torchscript")
    );
    assert!(failure(&["export", &file, "-o", &path("d.pt"), "--shape", "1,x+1"]).contains("is not a shape"));
    std::fs::remove_dir_all(&folder).unwrap();
}

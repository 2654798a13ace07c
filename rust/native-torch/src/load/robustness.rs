//! Damaged bytes: every truncation and many mutations of small files must be read or refused, quickly and without a
//! panic. What is drawn is the same in every run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Content,
    archive::Archive,
    module,
    testing::{self, boolean, call, dict, float, int, none, object, text, tuple},
    value::Records,
};
use crate::{Result, graph::Dim, load, tensor::Source};

/// A generator of pseudo-random numbers (Marsaglia, 2003: xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A pickle with a layer of each kind of attribute, a shared module and values of every type.
fn sample() -> Vec<u8> {
    let linear = object(
        "torch.nn.modules.linear.Linear",
        &[("weight", testing::tensor("0", 6, &[2, 3])), ("bias", testing::tensor("1", 2, &[2]))],
        &[],
        &[("in_features", int(3)), ("out_features", int(2))],
    );
    let conv = object(
        "torch.nn.modules.conv.Conv2d",
        &[("weight", testing::tensor("0", 6, &[1, 1, 2, 3])), ("bias", none())],
        &[],
        &[
            ("in_channels", int(1)),
            ("out_channels", int(1)),
            ("kernel_size", tuple(&[int(2), int(3)])),
            ("stride", tuple(&[int(1), int(1)])),
            ("padding", text("same")),
            ("dilation", int(1)),
            ("groups", int(1)),
            ("padding_mode", text("reflect")),
        ],
    );
    let softplus =
        object("torch.nn.modules.activation.Softplus", &[], &[], &[("beta", int(1)), ("threshold", float(20.0))]);
    let custom = object(
        "mine.Block",
        &[],
        &[("inner", softplus.clone())],
        &[("names", dict(&[("a", b"]".to_vec()), ("b", call("builtins.set", &[b"](K\x01e".to_vec()]))]))],
    );
    let shared =
        [object("torch.nn.modules.activation.ReLU", &[], &[], &[("inplace", boolean(true))]), b"q\x05".to_vec()];
    let root = object(
        "torch.nn.modules.container.Sequential",
        &[],
        &[("0", linear), ("1", shared.concat()), ("2", b"h\x05".to_vec()), ("3", conv), ("4", softplus), ("5", custom)],
        &[],
    );
    testing::pickle(root)
}

/// Reads a pickle as a model and uses what comes out of it.
fn use_pickle(bytes: &[u8]) -> Result<()> {
    use_up(testing::assembled(bytes, &[("0", 6), ("1", 2)])?)
}

/// Opens a file and uses what comes out of it.
fn use_file(bytes: &[u8]) -> Result<()> {
    let checkpoint = load::from_bytes(bytes.to_vec())?;
    let _ = checkpoint.verify(&mut |_, _| {});
    match &checkpoint.content {
        Content::Pickle(records) => use_up(records.clone()),
        Content::Program(archived) => {
            let program = &archived.program;
            let _ = (program.operations(), program.parameter_count(), program.inputs(), program.graph());
            program.example().map(drop)
        }
        Content::Script(archived) => {
            let script = &archived.script;
            let _ = (script.operations(), script.parameter_count(), script.inputs(), script.example());
            script.graph_of(&[[2, 3].map(Dim::Size).to_vec()]).map(drop)
        }
    }
}

fn use_up(records: Arc<Records>) -> Result<()> {
    for found in records.named_tensors(records.root())? {
        let _ = found.tensor.map(|tensor| (tensor.to_vec::<f32>(), tensor.to_complex_vec::<f64>()));
    }
    records.printed(records.root());
    let module = module::read(&records, records.root())?;
    module.layers().map(|layer| layer.describe().len() + layer.parameter_count()).sum::<usize>();
    module.unsupported();
    module.graph(Some(&[1, 1, 4, 3].map(Dim::Size)))?;
    Ok(())
}

const OPCODES: &[u8] = b"()]}.0125NRQbaeustqrhjcioPIgp\x81\x85\x86\x90\x92\x93\x94";

/// Calls `read` with every truncation of `bytes` and with mutations of it; the longest that one call took.
fn damage(bytes: &[u8], mutations: usize, read: fn(&[u8]) -> Result<()>) -> Duration {
    let mut longest = Duration::ZERO;
    let mut timed = |bytes: &[u8]| {
        let start = Instant::now();
        let _ = read(bytes);
        longest = longest.max(start.elapsed());
    };
    for length in 0..bytes.len() {
        timed(&bytes[..length]);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            timed(&damaged);
        }
    }
    for _ in 0..mutations {
        let mut damaged = bytes.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(damaged.len());
            match random.below(4) {
                0 => damaged[at] = random.below(256) as u8,
                // Opcodes are likelier than chance to lead deep into the reader.
                1 => damaged[at] = OPCODES[random.below(OPCODES.len())],
                2 => {
                    let length = random.below(64).min(damaged.len() - at);
                    let piece = damaged[at..at + length].to_vec();
                    let to = random.below(damaged.len());
                    damaged.splice(to..to, piece);
                }
                _ => {
                    let length = random.below(16).min(damaged.len() - at);
                    damaged.drain(at..at + length);
                }
            }
            if damaged.is_empty() {
                break;
            }
        }
        timed(&damaged);
    }
    longest
}

#[test]
fn load_survives_damaged_pickles() {
    use_pickle(&sample()).expect_err("the custom layer has no forward");
    assert!(damage(&sample(), 20_000, use_pickle) < Duration::from_secs(2));
}

#[test]
fn load_survives_damaged_archives() {
    let sample = sample();
    for zip64 in [false, true] {
        let bytes = testing::zip(
            &[("data.pkl", &sample), ("byteorder", b"big"), ("data/0", &[0; 24]), ("data/1", &[0; 8])],
            zip64,
        );
        use_file(&bytes).expect_err("the custom layer has no forward");
        assert!(damage(&bytes, 5_000, use_file) < Duration::from_secs(2));
    }
}

#[test]
fn load_survives_damaged_old_formats() {
    for file in ["files/legacy.pt", "files/legacy_protocol_0.pt", "files/tar_views.pt"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/models").join(file);
        let bytes = std::fs::read(path).unwrap();
        use_file(&bytes).unwrap();
        assert!(damage(&bytes, 5_000, use_file) < Duration::from_secs(2), "{file}");
    }
}

/// A place in a tree of JSON, drawn at random.
fn place<'a>(mut value: &'a mut serde_json::Value, random: &mut Random) -> &'a mut serde_json::Value {
    while random.below(12) > 0 {
        let count = value.as_array().map(Vec::len).or(value.as_object().map(serde_json::Map::len)).unwrap_or(0);
        if count == 0 {
            break;
        }
        let at = random.below(count);
        value = match value {
            serde_json::Value::Array(elements) => &mut elements[at],
            serde_json::Value::Object(entries) => entries.values_mut().nth(at).unwrap(),
            _ => unreachable!("it has parts"),
        };
    }
    value
}

/// Programs of which some parts are replaced by numbers, texts and parts from elsewhere.
#[test]
fn load_survives_damaged_programs() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let odd: Vec<serde_json::Value> = serde_json::from_str(
        r#"[null, true, -1, 0, 1, 3, 1e300, 9223372036854775807, -9223372036854775808, 4611686018427387904, "", "x", [], {},
           "Infinity", {"as_int": -2}, {"as_ints": [0, 0, 0]}, {"as_float": "NaN"}, {"as_none": true}, [{"as_int": 0}]]"#,
    )
    .unwrap();
    for file in
        ["keywords", "windows", "shapes", "written_in_place_core", "lstm", "attention_core", "resized", "einsums"]
    {
        let path = format!("{}/../../test/models/exported/{file}.pt2", env!("CARGO_MANIFEST_DIR"));
        let archive = Archive::open(&Source::from_bytes(std::fs::read(path).unwrap()).unwrap()).unwrap();
        let records: Vec<(String, Vec<u8>)> = archive
            .into_records()
            .into_iter()
            .map(|record| (record.name().to_owned(), record.to_bytes().unwrap()))
            .collect();
        let json: Vec<usize> = (0..records.len()).filter(|&i| records[i].0.ends_with(".json")).collect();
        for _ in 0..60 {
            let mut damaged = records.clone();
            for _ in 0..=random.below(2) {
                let at = json[random.below(json.len())];
                let mut tree: serde_json::Value = serde_json::from_slice(&damaged[at].1).unwrap();
                let with = match random.below(3) {
                    0 => place(&mut tree, &mut random).clone(),
                    _ => odd[random.below(odd.len())].clone(),
                };
                *place(&mut tree, &mut random) = with;
                damaged[at].1 = serde_json::to_vec(&tree).unwrap();
            }
            let damaged: Vec<(&str, &[u8])> = damaged.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
            let start = Instant::now();
            if let Err(error) = use_file(&testing::zip(&damaged, false)) {
                assert_ne!(error.kind(), crate::ErrorKind::Internal, "{error}");
            }
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }
}

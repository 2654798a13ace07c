//! The conformance suite through the C ABI: the library is opened as a host opens it, and declared here a second time,
//! as a binding declares it.

mod abi;

use std::{
    ffi::{CStr, CString, c_char, c_void},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    ptr, slice,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use libloading::Library;
use native_torch_conformance::{
    Api, Cones, Failure, Function, Indicators, Kind, Lists, Model, Module, ModuleKind, Order, Outcome, Precision,
    QuadraticRows, Ranges, Row, Rows, Signature, Source, Tables, Tapes, suite,
};
use serde_json::{Value as Json, json};

suite!(Foreign);

/// What stands behind the handles.
macro_rules! opaque {
    ($($name:ident),*) => {
        $(#[repr(C)]
        struct $name([u8; 0]);)*
    };
}
opaque!(CModel, CValue, CFunction, CWorkspace, CFormulation, CBounds);

#[repr(C)]
struct CReader {
    context: *mut c_void,
    length: u64,
    read: extern "C" fn(*mut c_void, u64, *mut u8, usize) -> i64,
    release: Release,
}

#[repr(C)]
struct CIntegersMut {
    data: *mut i64,
    len: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CDescription {
    kind: u32,
    number: f64,
    data: *const u8,
    length: usize,
    count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CChildren {
    count: usize,
    kinds: *const u32,
    key_kinds: *const u32,
    keys: CStrings,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CTensors {
    count: usize,
    names: CStrings,
    kinds: CStrings,
    dtypes: CStrings,
    reasons: CStrings,
    is_parameter: *const u8,
    storages: *const usize,
    shape_starts: *const usize,
    sizes: *const usize,
}

#[repr(C)]
struct CSlice<T> {
    data: *const T,
    len: usize,
}

#[repr(C)]
struct CSliceMut {
    data: *mut f64,
    len: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CStrings {
    text: *const c_char,
    offsets: *const usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CModules {
    count: usize,
    kinds: *const u32,
    paths: CStrings,
    classes: CStrings,
    descriptions: CStrings,
    reasons: CStrings,
    parameters: *const usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CValues {
    count: usize,
    names: CStrings,
    shape_starts: *const usize,
    sizes: *const usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CSignature {
    n: usize,
    m: usize,
    dtype: u32,
    inputs: CValues,
    outputs: CValues,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CPattern {
    count: usize,
    rows: *const usize,
    columns: *const usize,
}

/// The call that tells how far the work has come.
type CProgress = extern "C" fn(*mut c_void, *const c_char, usize, usize, u8) -> u8;

/// The caller's solver.
type CSolve =
    extern "C" fn(*mut c_void, *const CFormulation, *const u32, usize, u8, u32, *mut f64, *mut f64, *mut f64) -> u8;

#[repr(C)]
struct CBoundsOptions {
    threads: usize,
    time_limit: f64,
    solver: *const c_char,
    row_starts: CSlice<usize>,
    row_elements: CSlice<usize>,
    row_coefficients: CSlice<f64>,
    row_lower: CSlice<f64>,
    row_upper: CSlice<f64>,
    progress: Option<CProgress>,
    solve: Option<CSolve>,
    data: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CBoundsTables {
    count: usize,
    names: CStrings,
    operations: CStrings,
    shape_starts: *const usize,
    sizes: *const usize,
    starts: *const usize,
    lower: *const f64,
    upper: *const f64,
    output_count: usize,
    outputs: *const usize,
    solved: usize,
    timed_out: usize,
    failed: usize,
    cancelled: u8,
    failure: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CVariables {
    count: usize,
    lower: *const f64,
    upper: *const f64,
    domains: *const u8,
    start: *const f64,
    blocks: *const u32,
    indices: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CBlocks {
    count: usize,
    names: CStrings,
    layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CRows {
    count: usize,
    starts: *const usize,
    variables: *const u32,
    coefficients: *const f64,
    lower: *const f64,
    upper: *const f64,
    layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CLists {
    count: usize,
    starts: *const usize,
    variables: *const u32,
    weights: *const f64,
    layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CIndicators {
    binaries: *const u32,
    active: *const u8,
    rows: CRows,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CQuadraticRows {
    rows: CRows,
    starts: *const usize,
    first: *const u32,
    second: *const u32,
    coefficients: *const f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CCones {
    count: usize,
    kinds: *const u8,
    starts: *const usize,
    members: CAffineFunctions,
    layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CAffineFunctions {
    count: usize,
    starts: *const usize,
    variables: *const u32,
    coefficients: *const f64,
    constants: *const f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CComplementarities {
    count: usize,
    first: *const u32,
    second: *const u32,
    layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CDefinitions {
    variables: *const u32,
    relations: *const u8,
    tapes: CTapes,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CTapes {
    count: usize,
    starts: *const usize,
    codes: *const u8,
    arguments: *const u32,
    constant_count: usize,
    constants: *const f64,
    layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CTables {
    variables: CVariables,
    blocks: CBlocks,
    rows: CRows,
    sos1: CLists,
    indicators: CIndicators,
    quadratic: CQuadraticRows,
    cones: CCones,
    complementarities: CComplementarities,
    definitions: CDefinitions,
    expressions: CTapes,
    input_count: usize,
    inputs: *const u32,
    output_count: usize,
    outputs: *const u32,
    output_expressions: *const u32,
    output_lower: *const f64,
    output_upper: *const f64,
    layer_count: usize,
    layers: CStrings,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CInputs {
    count: usize,
    names: CStrings,
    is_integer: *const u8,
    has_shape: *const u8,
    shape_starts: *const usize,
    sizes: *const usize,
}

type Point = CSlice<f64>;

/// Declares the functions and finds them in the library.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        #[allow(non_snake_case)]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        static C: LazyLock<Functions> = LazyLock::new(|| {
            // SAFETY: the library runs no code when it is opened; it is never closed, so that its functions stay. The
            // header, which is current by a test of its own, declares them so.
            unsafe {
                let library: &'static Library = Box::leak(Box::new(Library::new(abi::library()).unwrap()));
                Functions { $($name: *library.get(stringify!($name).as_bytes()).unwrap(),)* }
            }
        });
    };
}

type Release = extern "C" fn(*mut c_void);

functions! {
    nt_last_error: fn() -> *const c_char;
    nt_model_open: fn(*const c_char, *mut *mut CModel) -> i32;
    nt_model_open_bytes: fn(CSlice<u8>, Release, *mut c_void, *mut *mut CModel) -> i32;
    nt_model_open_reader: fn(*const CReader, *mut *mut CModel) -> i32;
    nt_value_open: fn(*const c_char, *mut *mut CValue) -> i32;
    nt_value_open_bytes: fn(CSlice<u8>, Release, *mut c_void, *mut *mut CValue) -> i32;
    nt_value_open_reader: fn(*const CReader, *mut *mut CValue) -> i32;
    nt_value_destroy: fn(*mut CValue) -> i32;
    nt_value_describe: fn(*const CValue, *mut CDescription) -> i32;
    nt_value_children: fn(*const CValue, *mut CChildren) -> i32;
    nt_value_child: fn(*const CValue, usize, *mut *mut CValue) -> i32;
    nt_value_key: fn(*const CValue, usize, *mut *mut CValue) -> i32;
    nt_value_tensors: fn(*const CValue, *mut CTensors) -> i32;
    nt_value_tensor_values: fn(*const CValue, usize, CSliceMut) -> i32;
    nt_value_tensor_integers: fn(*const CValue, usize, CIntegersMut) -> i32;
    nt_value_verify: fn(*const CValue) -> i32;
    nt_model_destroy: fn(*mut CModel) -> i32;
    nt_model_modules: fn(*const CModel, *mut CModules) -> i32;
    nt_model_inputs: fn(*const CModel, *mut CInputs) -> i32;
    nt_model_with_inputs: fn(*const CModel, CSlice<usize>, CSlice<usize>, CSlice<i64>, *mut *mut CModel) -> i32;
    nt_model_verify: fn(*const CModel) -> i32;
    nt_model_write: fn(*const CModel, *const c_char, *const c_char, *const c_char, CSlice<usize>, CSlice<usize>) -> i32;
    nt_function_compile: fn(*const CModel, CSlice<usize>, u32, *mut *mut CFunction) -> i32;
    nt_function_destroy: fn(*mut CFunction) -> i32;
    nt_function_signature: fn(*const CFunction, *mut CSignature) -> i32;
    nt_function_jacobian_pattern: fn(*const CFunction, *mut CPattern) -> i32;
    nt_function_hessian_pattern: fn(*const CFunction, *mut CPattern) -> i32;
    nt_workspace_create: fn(*const CFunction, *mut *mut CWorkspace) -> i32;
    nt_workspace_destroy: fn(*mut CWorkspace) -> i32;
    nt_function_value: fn(*const CFunction, *const CWorkspace, Point, CSliceMut) -> i32;
    nt_function_jacobian: fn(*const CFunction, *const CWorkspace, Point, u32, CSliceMut) -> i32;
    nt_function_jvp: fn(*const CFunction, *const CWorkspace, Point, Point, CSliceMut) -> i32;
    nt_function_vjp: fn(*const CFunction, *const CWorkspace, Point, Point, CSliceMut) -> i32;
    nt_function_hessian: fn(*const CFunction, *const CWorkspace, Point, Point, u32, CSliceMut) -> i32;
    nt_function_hvp: fn(*const CFunction, *const CWorkspace, Point, Point, Point, CSliceMut) -> i32;
    nt_bounds_create:
        fn(*const CModel, CSlice<usize>, Point, Point, u32, *const CBoundsOptions, *mut *mut CBounds) -> i32;
    nt_bounds_destroy: fn(*mut CBounds) -> i32;
    nt_bounds_tables: fn(*const CBounds, *mut CBoundsTables) -> i32;
    nt_formulation_create_bounded: fn(*const CBounds, Point, *const c_char, *mut *mut CFormulation) -> i32;
    nt_formulation_create: fn(*const CModel, CSlice<usize>, Point, Point, Point, *const c_char, *mut *mut CFormulation) -> i32;
    nt_formulation_destroy: fn(*mut CFormulation) -> i32;
    nt_formulation_tables: fn(*const CFormulation, *mut CTables) -> i32;
    nt_formulation_evaluate: fn(*const CFormulation, Point, CSliceMut) -> i32;
    nt_formulation_outputs: fn(*const CFormulation, Point, CSliceMut) -> i32;
    nt_formulation_check: fn(*const CFormulation, Point, f64) -> i32;
    nt_formulation_error: fn(*const CFormulation, Point, Point, *mut f64) -> i32;
    nt_formulation_text: fn(*const CFormulation, *mut *const c_char) -> i32;
}

/// The C ABI.
struct Foreign;

struct ForeignModel(*mut CModel);
struct ForeignValue(*mut CValue);
struct ForeignFunction(*mut CFunction);
struct ForeignWorkspace(*mut CWorkspace);
struct ForeignFormulation(*mut CFormulation);
struct ForeignBounds(*mut CBounds);

// SAFETY: the header allows functions in several threads at once, and workspaces in any one.
unsafe impl Send for ForeignFunction {}
// SAFETY: as above.
unsafe impl Sync for ForeignFunction {}
// SAFETY: as above.
unsafe impl Send for ForeignWorkspace {}

/// Frees a handle with its destroyer.
macro_rules! destroyed_by {
    ($($type:ty: $destroy:ident),*) => {
        $(impl Drop for $type {
            fn drop(&mut self) {
                // SAFETY: the handle is ours, from the constructor of its kind, and not used afterwards.
                assert_eq!(unsafe { (C.$destroy)(self.0) }, 0);
            }
        })*
    };
}
destroyed_by!(
    ForeignModel: nt_model_destroy,
    ForeignValue: nt_value_destroy,
    ForeignFunction: nt_function_destroy,
    ForeignWorkspace: nt_workspace_destroy,
    ForeignFormulation: nt_formulation_destroy,
    ForeignBounds: nt_bounds_destroy
);

fn check(status: i32) -> Outcome<()> {
    let kind = match status {
        0 => return Ok(()),
        1 => Kind::Argument,
        2 => Kind::Io,
        3 => Kind::Format,
        4 => Kind::Unsupported,
        5 => Kind::Solver,
        _ => Kind::Internal,
    };
    // SAFETY: the message is a string that is valid until the next call on this thread.
    let message = unsafe { CStr::from_ptr((C.nt_last_error)()) };
    Err(Failure { kind, message: message.to_str().unwrap().to_owned() })
}

/// What a call writes to its out-pointer.
fn get<T>(call: impl FnOnce(*mut T) -> i32) -> Outcome<T> {
    let mut out = MaybeUninit::uninit();
    check(call(out.as_mut_ptr()))?;
    // SAFETY: a call that succeeds has written its result.
    Ok(unsafe { out.assume_init() })
}

/// What a constructor makes. It writes NULL where it fails.
fn made<T>(call: impl FnOnce(*mut *mut T) -> i32) -> Outcome<*mut T> {
    let mut out = std::ptr::dangling_mut();
    let outcome = check(call(&mut out));
    assert_eq!(outcome.is_err(), out.is_null());
    outcome.map(|()| out)
}

fn read<T>(values: &[T]) -> CSlice<T> {
    CSlice { data: values.as_ptr(), len: values.len() }
}

fn read_or_null<T>(values: Option<&[T]>) -> CSlice<T> {
    values.map_or(CSlice { data: std::ptr::null(), len: 0 }, read)
}

fn write(values: &mut [f64]) -> CSliceMut {
    CSliceMut { data: values.as_mut_ptr(), len: values.len() }
}

/// A copy of an array of a table whose handle lives.
fn array<T: Copy>(data: *const T, len: usize) -> Vec<T> {
    // SAFETY: the tables say how long their arrays are.
    unsafe { slice::from_raw_parts(data, len) }.to_vec()
}

/// A copy of the strings of a table whose handle lives.
fn strings(list: CStrings, count: usize) -> Vec<String> {
    let offsets = array(list.offsets, count + 1);
    let string = |i: usize| {
        // SAFETY: a string begins at each offset, and ends with NUL.
        let string = unsafe { CStr::from_ptr(list.text.add(offsets[i])) };
        assert_eq!(string.count_bytes() + 1, offsets[i + 1] - offsets[i]);
        string.to_str().unwrap().to_owned()
    };
    (0..count).map(string).collect()
}

impl Api for Foreign {
    type Model = ForeignModel;

    fn open_from(source: Source) -> Outcome<ForeignModel> {
        opened(source, C.nt_model_open, C.nt_model_open_bytes, C.nt_model_open_reader).map(ForeignModel)
    }

    fn root(source: Source) -> Outcome<Json> {
        let value = opened(source, C.nt_value_open, C.nt_value_open_bytes, C.nt_value_open_reader).map(ForeignValue)?;
        // SAFETY: the value lives.
        check(unsafe { (C.nt_value_verify)(value.0) })?;
        // SAFETY: as above.
        let tensors = get(|out| unsafe { (C.nt_value_tensors)(value.0, out) })?;
        let mut tensors = Tensors { root: &value, table: tensors, next: 0 };
        described(&value, &mut tensors)
    }
}

/// Bytes that were lent, and how often they were released.
struct Loan {
    bytes: Vec<u8>,
    released: AtomicUsize,
}

extern "C" fn release(context: *mut c_void) {
    // SAFETY: the context is a loan that is never freed.
    let loan = unsafe { &*context.cast::<Loan>() };
    assert_eq!(loan.released.fetch_add(1, Ordering::SeqCst), 0);
}

/// At most 1000 bytes at a time, as a reader may.
extern "C" fn read_loan(context: *mut c_void, position: u64, buffer: *mut u8, length: usize) -> i64 {
    // SAFETY: the context is a loan that is never freed.
    let loan = unsafe { &*context.cast::<Loan>() };
    let rest = loan.bytes.get(position as usize..).unwrap_or_default();
    let rest = &rest[..rest.len().min(length).min(1000)];
    // SAFETY: the library gives `length` bytes to write to.
    unsafe { ptr::copy_nonoverlapping(rest.as_ptr(), buffer, rest.len()) };
    rest.len() as i64
}

/// Opens a file from any source. What is lent is released where this fails.
fn opened<T>(
    source: Source,
    by_path: unsafe extern "C" fn(*const c_char, *mut *mut T) -> i32,
    by_bytes: unsafe extern "C" fn(CSlice<u8>, Release, *mut c_void, *mut *mut T) -> i32,
    by_reader: unsafe extern "C" fn(*const CReader, *mut *mut T) -> i32,
) -> Outcome<*mut T> {
    let lent = |bytes| Box::leak(Box::new(Loan { bytes, released: AtomicUsize::new(0) }));
    let context = |loan: &Loan| ptr::from_ref(loan).cast_mut().cast::<c_void>();
    let (loan, outcome) = match source {
        Source::Path(path) => {
            let path = CString::new(path.as_os_str().as_bytes()).unwrap();
            // SAFETY: the path lives during the call.
            return made(|out| unsafe { by_path(path.as_ptr(), out) });
        }
        Source::Bytes(bytes) => {
            let loan = lent(bytes);
            // SAFETY: the bytes are never freed.
            (&*loan, made(|out| unsafe { by_bytes(read(&loan.bytes), release, context(loan), out) }))
        }
        Source::Reader(bytes) => {
            let loan = lent(bytes);
            let length = loan.bytes.len() as u64;
            let reader = CReader { context: context(loan), length, read: read_loan, release };
            // SAFETY: the loan is never freed; the table is copied.
            (&*loan, made(|out| unsafe { by_reader(&reader, out) }))
        }
    };
    assert_eq!(loan.released.load(Ordering::SeqCst), usize::from(outcome.is_err()));
    outcome
}

/// The tensors of a file, which come in the order in which a walk meets them.
struct Tensors<'a> {
    root: &'a ForeignValue,
    table: CTensors,
    next: usize,
}

const KINDS: [&str; 13] =
    ["None", "bool", "int", "float", "str", "bytes", "list", "tuple", "set", "dict", "tensor", "module", "object"];

fn number(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string().to_lowercase()) }
}

fn integer(value: i128) -> Json {
    if value.abs() > 1 << 53 { json!(value.to_string()) } else { json!(value as i64) }
}

/// A value as `test/models/values.py` describes it.
fn described(value: &ForeignValue, tensors: &mut Tensors) -> Outcome<Json> {
    // SAFETY: the value lives.
    let found = get(|out| unsafe { (C.nt_value_describe)(value.0, out) })?;
    // SAFETY: as above.
    let children = get(|out| unsafe { (C.nt_value_children)(value.0, out) })?;
    assert_eq!(children.count, found.count);
    let data = array(found.data, found.length);
    let text = || String::from_utf8(data.clone()).unwrap();
    let kind = KINDS.get(found.kind as usize).copied().unwrap_or("class");
    // SAFETY: as above.
    let child = |i| made(|out| unsafe { (C.nt_value_child)(value.0, i, out) }).map(ForeignValue);
    // SAFETY: as above.
    let key = |i| made(|out| unsafe { (C.nt_value_key)(value.0, i, out) }).map(ForeignValue);
    Ok(match kind {
        "dict" => {
            let mut entries = Vec::new();
            for i in 0..children.count {
                // Nobody looks for tensors in keys.
                let key = described(&key(i)?, tensors)?;
                entries.push(json!([key, described(&child(i)?, tensors)?]));
            }
            json!({ "kind": kind, "entries": entries })
        }
        "list" | "tuple" | "set" => {
            let elements: Outcome<Vec<Json>> = (0..children.count).map(|i| described(&child(i)?, tensors)).collect();
            json!({ "kind": kind, "elements": elements? })
        }
        "tensor" => described_tensor(tensors)?,
        "module" => {
            // SAFETY: the value lives.
            let own = get(|out| unsafe { (C.nt_value_tensors)(value.0, out) })?;
            tensors.next += own.count;
            json!({ "kind": kind, "class": text() })
        }
        "bool" => json!({ "kind": kind, "value": found.number != 0.0 }),
        "int" => {
            let mut wide = [if data.last().is_some_and(|&byte| byte > 127) { 0xff } else { 0 }; 16];
            wide[..data.len()].copy_from_slice(&data);
            let exact = i128::from_le_bytes(wide);
            assert_eq!(exact as f64, found.number);
            json!({ "kind": kind, "value": integer(exact) })
        }
        "float" => json!({ "kind": kind, "value": number(found.number) }),
        "bytes" => json!({ "kind": kind, "value": data }),
        "str" | "class" => json!({ "kind": kind, "value": text() }),
        _ => json!({ "kind": kind, "value": null }),
    })
}

fn described_tensor(tensors: &mut Tensors) -> Outcome<Json> {
    let (table, i) = (tensors.table, tensors.next);
    tensors.next += 1;
    assert!(i < table.count);
    let text = |list: CStrings| strings(list, table.count)[i].clone();
    let starts = array(table.shape_starts, table.count + 1);
    let shape = array(table.sizes, starts[table.count])[starts[i]..starts[i + 1]].to_vec();
    let storage = array(table.storages, table.count)[i];
    let (kind, dtype, usable) = (text(table.kinds), text(table.dtypes), text(table.reasons).is_empty());
    assert_eq!(usable, storage != usize::MAX);
    let count: usize = shape.iter().product();
    let values = || {
        let mut values = vec![f64::NAN; if dtype.starts_with("complex") { 2 * count } else { count }];
        // SAFETY: the root lives.
        check(unsafe { (C.nt_value_tensor_values)(tensors.root.0, i, write(&mut values)) }).map(|()| values)
    };
    let integers = || {
        let mut values = vec![-7i64; count];
        let out = CIntegersMut { data: values.as_mut_ptr(), len: values.len() };
        // SAFETY: the root lives.
        check(unsafe { (C.nt_value_tensor_integers)(tensors.root.0, i, out) }).map(|()| values)
    };
    let values: Json = match dtype.as_str() {
        _ if !usable => {
            assert_eq!(values().unwrap_err().kind, Kind::Unsupported);
            Json::Null
        }
        "bool" => integers()?.iter().map(|&v| json!(v != 0)).collect(),
        "uint64" => integers()?.iter().map(|&v| integer(i128::from(v as u64))).collect(),
        dtype if dtype.contains("int") => integers()?.iter().map(|&v| integer(v.into())).collect(),
        dtype if dtype.starts_with("complex") => {
            values()?.chunks(2).map(|pair| Json::from(vec![number(pair[0]), number(pair[1])])).collect()
        }
        _ => values()?.into_iter().map(number).collect(),
    };
    let shape = if kind == "nested" { Json::Null } else { json!(shape) };
    let storage = usable.then_some(storage);
    Ok(json!({
        "kind": "tensor", "layout": kind, "dtype": dtype, "shape": shape, "values": values, "storage": storage,
    }))
}

impl ForeignFormulation {
    fn tables(&self) -> Outcome<Tables> {
        // SAFETY: the handle lives, the pointer may be written to.
        let all = get(|out| unsafe { (C.nt_formulation_tables)(self.0, out) })?;
        let (variables, definitions, cones) = (all.variables, all.definitions, all.cones);
        let blocks = strings(all.blocks.names, all.blocks.count);
        assert_eq!(array(all.blocks.layers, all.blocks.count).len(), blocks.len());
        let (block, index) = (array(variables.blocks, variables.count), array(variables.indices, variables.count));
        // SAFETY: as above.
        let text = get(|out| unsafe { (C.nt_formulation_text)(self.0, out) })?;
        let (indicators, quadratic, pairs) = (all.indicators, all.quadratic, all.complementarities);
        let products = array(quadratic.starts, quadratic.rows.count + 1);
        let count = products[quadratic.rows.count];
        let outputs = |of: *const u32| if of.is_null() { Vec::new() } else { array(of, all.output_count) };
        let members = array(cones.members.starts, cones.members.count + 1);
        let entries = members[cones.members.count];
        Ok(Tables {
            lower: array(variables.lower, variables.count),
            upper: array(variables.upper, variables.count),
            domains: array(variables.domains, variables.count),
            start: array(variables.start, variables.count),
            names: block.iter().zip(index).map(|(&block, i)| format!("{}[{i}]", blocks[block as usize])).collect(),
            rows: rows(all.rows),
            sos1: lists(all.sos1),
            indicators: Indicators {
                binaries: array(indicators.binaries, indicators.rows.count),
                active: array(indicators.active, indicators.rows.count),
                rows: rows(indicators.rows),
            },
            quadratic: QuadraticRows {
                rows: rows(quadratic.rows),
                first: array(quadratic.first, count),
                second: array(quadratic.second, count),
                coefficients: array(quadratic.coefficients, count),
                starts: products,
            },
            cones: Cones {
                kinds: array(cones.kinds, cones.count),
                starts: array(cones.starts, cones.count + 1),
                members: (
                    members,
                    array(cones.members.variables, entries),
                    array(cones.members.coefficients, entries),
                    array(cones.members.constants, cones.members.count),
                ),
            },
            complementarities: array(pairs.first, pairs.count)
                .into_iter()
                .zip(array(pairs.second, pairs.count))
                .collect(),
            definitions: array(definitions.variables, definitions.tapes.count),
            relations: array(definitions.relations, definitions.tapes.count),
            tapes: tapes(definitions.tapes),
            expressions: tapes(all.expressions),
            inputs: array(all.inputs, all.input_count),
            outputs: outputs(all.outputs),
            output_expressions: outputs(all.output_expressions),
            output_bounds: array(all.output_lower, all.output_count)
                .into_iter()
                .zip(array(all.output_upper, all.output_count))
                .collect(),
            layers: strings(all.layers, all.layer_count),
            // SAFETY: a string that is valid as long as the handle.
            text: unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned(),
        })
    }
}

fn tapes(tapes: CTapes) -> Tapes {
    let starts = array(tapes.starts, tapes.count + 1);
    let places = starts[tapes.count];
    Tapes {
        codes: array(tapes.codes, places),
        arguments: array(tapes.arguments, places),
        constants: array(tapes.constants, tapes.constant_count),
        starts,
    }
}

fn rows(rows: CRows) -> Rows {
    let starts = array(rows.starts, rows.count + 1);
    let entries = starts[rows.count];
    Rows {
        variables: array(rows.variables, entries),
        coefficients: array(rows.coefficients, entries),
        lower: array(rows.lower, rows.count),
        upper: array(rows.upper, rows.count),
        layers: array(rows.layers, rows.count),
        starts,
    }
}

fn lists(lists: CLists) -> Lists {
    let starts = array(lists.starts, lists.count + 1);
    let entries = starts[lists.count];
    Lists { variables: array(lists.variables, entries), weights: array(lists.weights, entries), starts }
}

// SAFETY of the calls below: handles live as long as the values that hold them, slices are those of Rust, and
// out-pointers may be written to.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Model for ForeignModel {
    type Function = ForeignFunction;

    fn modules(&self) -> Outcome<Vec<Module>> {
        let table = get(|out| unsafe { (C.nt_model_modules)(self.0, out) })?;
        let kind = |kind: &u32| match kind {
            0 => ModuleKind::Sequential,
            1 => ModuleKind::Standard,
            2 => ModuleKind::Custom,
            3 => ModuleKind::Unsupported,
            other => panic!("kind {other}"),
        };
        let count = table.count;
        let [paths, classes, reasons] = [table.paths, table.classes, table.reasons].map(|list| strings(list, count));
        assert!(strings(table.descriptions, count).iter().all(|text| text.ends_with(')')));
        let (kinds, parameters) = (array(table.kinds, count), array(table.parameters, count));
        let module = |i: usize| Module {
            kind: kind(&kinds[i]),
            path: paths[i].clone(),
            class: classes[i].clone(),
            parameters: parameters[i],
            reason: reasons[i].clone(),
        };
        Ok((0..count).map(module).collect())
    }

    fn verify(&self) -> Outcome<()> {
        check(unsafe { (C.nt_model_verify)(self.0) })
    }

    fn compile(&self, shape: Option<&[usize]>, precision: Precision) -> Outcome<ForeignFunction> {
        let dtype = match precision {
            Precision::Double => 0,
            Precision::Single => 1,
        };
        made(|out| unsafe { (C.nt_function_compile)(self.0, read_or_null(shape), dtype, out) }).map(ForeignFunction)
    }

    fn formulate(
        &self,
        shape: Option<&[usize]>,
        (lower, upper): (&[f64], &[f64]),
        options: &str,
        start: Option<&[f64]>,
        x: &[f64],
    ) -> Outcome<(Tables, Vec<f64>, Vec<f64>)> {
        let (shape, lower, upper) = (read_or_null(shape), read(lower), read(upper));
        let text = CString::new(options).unwrap();
        // The default is asked for by NULL, too.
        let options = if options.is_empty() { std::ptr::null() } else { text.as_ptr() };
        let create =
            |out| unsafe { (C.nt_formulation_create)(self.0, shape, lower, upper, read_or_null(start), options, out) };
        let formulation = ForeignFormulation(made(create)?);
        let tables = formulation.tables()?;
        let mut values = vec![0.0; tables.lower.len()];
        let mut outputs = vec![0.0; tables.output_bounds.len()];
        check(unsafe { (C.nt_formulation_evaluate)(formulation.0, read(x), write(&mut values)) })?;
        check(unsafe { (C.nt_formulation_outputs)(formulation.0, read(&values), write(&mut outputs)) })?;
        check(unsafe { (C.nt_formulation_check)(formulation.0, read(&values), 1e-6) })?;
        let error = get(|out| unsafe { (C.nt_formulation_error)(formulation.0, read(x), read(&outputs), out) })?;
        assert_eq!(error, 0.0);
        Ok((tables, values, outputs))
    }

    fn bounds(
        &self,
        shape: Option<&[usize]>,
        lower: &[f64],
        upper: &[f64],
        method: u32,
        row: Option<Row>,
    ) -> Outcome<Ranges> {
        extern "C" fn count(data: *mut c_void, layer: *const c_char, done: usize, total: usize, _: u8) -> u8 {
            // SAFETY: the data is the counter below, and the layer a string that lives through the call.
            let (calls, layer) = unsafe { (&mut *data.cast::<usize>(), CStr::from_ptr(layer)) };
            assert!(done <= total && layer.to_str().unwrap().contains('`'));
            *calls += 1;
            1
        }
        let mut calls = 0_usize;
        let starts = row.map(|row| [0, row.elements.len()]);
        let limits = row.map(|row| [[row.lower], [row.upper]]);
        let options = CBoundsOptions {
            threads: 1,
            time_limit: 0.0,
            solver: std::ptr::null(),
            row_starts: read_or_null(starts.as_ref().map(|starts| &starts[..])),
            row_elements: read_or_null(row.map(|row| row.elements)),
            row_coefficients: read_or_null(row.map(|row| row.coefficients)),
            row_lower: read_or_null(limits.as_ref().map(|limits| &limits[0][..])),
            row_upper: read_or_null(limits.as_ref().map(|limits| &limits[1][..])),
            progress: Some(count),
            solve: None,
            data: (&raw mut calls).cast(),
        };
        let (shape, lower, upper) = (read_or_null(shape), read(lower), read(upper));
        let create = |out| unsafe { (C.nt_bounds_create)(self.0, shape, lower, upper, method, &options, out) };
        let bounds = ForeignBounds(made(create)?);
        let tables = get(|out| unsafe { (C.nt_bounds_tables)(bounds.0, out) })?;
        // SAFETY: the failure is a string that lives as long as the bounds.
        let failure = unsafe { CStr::from_ptr(tables.failure) };
        assert_eq!(tables.failed == 0, failure.is_empty());
        assert!(tables.cancelled == 0 && tables.timed_out == 0);
        let starts = array(tables.starts, tables.count + 1);
        let shape_starts = array(tables.shape_starts, tables.count + 1);
        let sizes = array(tables.sizes, shape_starts[tables.count]);
        for k in 0..tables.count {
            let elements: usize = sizes[shape_starts[k]..shape_starts[k + 1]].iter().product();
            assert_eq!(elements, starts[k + 1] - starts[k]);
        }
        let create =
            |out| unsafe { (C.nt_formulation_create_bounded)(bounds.0, read_or_null(None), std::ptr::null(), out) };
        let formulation = ForeignFormulation(made(create)?).tables()?;
        Ok(Ranges {
            names: strings(tables.names, tables.count),
            operations: strings(tables.operations, tables.count),
            lower: array(tables.lower, starts[tables.count]),
            upper: array(tables.upper, starts[tables.count]),
            outputs: array(tables.outputs, tables.output_count),
            solved: tables.solved,
            calls,
            binaries: formulation.domains.iter().filter(|&&domain| domain == 1).count(),
            starts,
        })
    }
}

fn order(order: Order) -> u32 {
    match order {
        Order::RowMajor => 0,
        Order::ColumnMajor => 1,
        Order::Pattern => 2,
    }
}

fn pattern(pattern: CPattern) -> Vec<(usize, usize)> {
    array(pattern.rows, pattern.count).into_iter().zip(array(pattern.columns, pattern.count)).collect()
}

fn values(values: CValues) -> Vec<(String, Vec<usize>)> {
    let starts = array(values.shape_starts, values.count + 1);
    let sizes = array(values.sizes, starts[values.count]);
    let shapes = starts.windows(2).map(|range| sizes[range[0]..range[1]].to_vec());
    strings(values.names, values.count).into_iter().zip(shapes).collect()
}

// SAFETY of the calls below: as above.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Function for ForeignFunction {
    type Workspace = ForeignWorkspace;

    fn signature(&self) -> Outcome<Signature> {
        let signature = get(|out| unsafe { (C.nt_function_signature)(self.0, out) })?;
        Ok(Signature {
            n: signature.n,
            m: signature.m,
            inputs: values(signature.inputs),
            outputs: values(signature.outputs),
        })
    }

    fn jacobian_pattern(&self) -> Outcome<Vec<(usize, usize)>> {
        get(|out| unsafe { (C.nt_function_jacobian_pattern)(self.0, out) }).map(pattern)
    }

    fn hessian_pattern(&self) -> Outcome<Vec<(usize, usize)>> {
        get(|out| unsafe { (C.nt_function_hessian_pattern)(self.0, out) }).map(pattern)
    }

    fn workspace(&self) -> Outcome<ForeignWorkspace> {
        made(|out| unsafe { (C.nt_workspace_create)(self.0, out) }).map(ForeignWorkspace)
    }

    fn value(&self, w: &mut ForeignWorkspace, x: &[f64], y: &mut [f64]) -> Outcome<()> {
        check(unsafe { (C.nt_function_value)(self.0, w.0, read(x), write(y)) })
    }

    fn jacobian(&self, w: &mut ForeignWorkspace, x: &[f64], order: Order, values: &mut [f64]) -> Outcome<()> {
        check(unsafe { (C.nt_function_jacobian)(self.0, w.0, read(x), self::order(order), write(values)) })
    }

    fn jvp(&self, w: &mut ForeignWorkspace, x: &[f64], v: &[f64], out: &mut [f64]) -> Outcome<()> {
        check(unsafe { (C.nt_function_jvp)(self.0, w.0, read(x), read(v), write(out)) })
    }

    fn vjp(&self, w: &mut ForeignWorkspace, x: &[f64], u: &[f64], out: &mut [f64]) -> Outcome<()> {
        check(unsafe { (C.nt_function_vjp)(self.0, w.0, read(x), read(u), write(out)) })
    }

    fn hessian(
        &self,
        w: &mut ForeignWorkspace,
        x: &[f64],
        mu: &[f64],
        order: Order,
        values: &mut [f64],
    ) -> Outcome<()> {
        check(unsafe { (C.nt_function_hessian)(self.0, w.0, read(x), read(mu), self::order(order), write(values)) })
    }

    fn hvp(&self, w: &mut ForeignWorkspace, x: &[f64], mu: &[f64], v: &[f64], out: &mut [f64]) -> Outcome<()> {
        check(unsafe { (C.nt_function_hvp)(self.0, w.0, read(x), read(mu), read(v), write(out)) })
    }
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

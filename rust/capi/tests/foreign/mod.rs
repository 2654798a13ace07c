//! The C ABI as the conformance suite sees it: the library is opened as a host opens it, and declared here a second time,
//! as a binding declares it.

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
    QuadraticRows, Ranges, Row, Rows, Signature, Source, Tables, Tapes,
};
use serde_json::{Value as Json, json};

/// What stands behind the handles.
macro_rules! opaque {
    ($($name:ident),*) => {
        $(#[repr(C)]
        pub struct $name([u8; 0]);)*
    };
}
opaque!(CModel, CValue, CFunction, CWorkspace, CFormulation, CBounds);

#[repr(C)]
pub struct CLibtorch {
    pub version: *const c_char,
    pub path: *const c_char,
    pub cuda_devices: usize,
}

#[repr(C)]
pub struct CReader {
    pub context: *mut c_void,
    pub length: u64,
    pub read: extern "C" fn(*mut c_void, u64, *mut u8, usize) -> i64,
    pub release: Release,
}

#[repr(C)]
pub struct CIntegersMut {
    pub data: *mut i64,
    pub len: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CDescription {
    pub kind: u32,
    pub number: f64,
    pub data: *const u8,
    pub length: usize,
    pub count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CChildren {
    pub count: usize,
    pub kinds: *const u32,
    pub key_kinds: *const u32,
    pub keys: CStrings,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CTensors {
    pub count: usize,
    pub names: CStrings,
    pub kinds: CStrings,
    pub dtypes: CStrings,
    pub reasons: CStrings,
    pub is_parameter: *const u8,
    pub storages: *const usize,
    pub shape_starts: *const usize,
    pub sizes: *const usize,
}

#[repr(C)]
pub struct CSlice<T> {
    pub data: *const T,
    pub len: usize,
}

#[repr(C)]
pub struct CSliceMut {
    pub data: *mut f64,
    pub len: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CStrings {
    pub text: *const c_char,
    pub offsets: *const usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CModules {
    pub count: usize,
    pub kinds: *const u32,
    pub paths: CStrings,
    pub classes: CStrings,
    pub descriptions: CStrings,
    pub reasons: CStrings,
    pub parameters: *const usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CValues {
    pub count: usize,
    pub names: CStrings,
    pub shape_starts: *const usize,
    pub sizes: *const usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CSignature {
    pub n: usize,
    pub m: usize,
    pub dtype: u32,
    pub inputs: CValues,
    pub outputs: CValues,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CPattern {
    pub count: usize,
    pub rows: *const usize,
    pub columns: *const usize,
}

/// The call that tells how far the work has come.
pub type CProgress = extern "C" fn(*mut c_void, *const c_char, usize, usize, u8) -> u8;

/// The caller's solver.
pub type CSolve =
    extern "C" fn(*mut c_void, *const CFormulation, *const u32, usize, u8, u32, *mut f64, *mut f64, *mut f64) -> u8;

#[repr(C)]
pub struct CBoundsOptions {
    pub threads: usize,
    pub time_limit: f64,
    pub solver: *const c_char,
    pub row_starts: CSlice<usize>,
    pub row_elements: CSlice<usize>,
    pub row_coefficients: CSlice<f64>,
    pub row_lower: CSlice<f64>,
    pub row_upper: CSlice<f64>,
    pub progress: Option<CProgress>,
    pub solve: Option<CSolve>,
    pub data: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CBoundsTables {
    pub count: usize,
    pub names: CStrings,
    pub operations: CStrings,
    pub shape_starts: *const usize,
    pub sizes: *const usize,
    pub starts: *const usize,
    pub lower: *const f64,
    pub upper: *const f64,
    pub output_count: usize,
    pub outputs: *const usize,
    pub solved: usize,
    pub timed_out: usize,
    pub failed: usize,
    pub cancelled: u8,
    pub failure: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CVariables {
    pub count: usize,
    pub lower: *const f64,
    pub upper: *const f64,
    pub domains: *const u8,
    pub start: *const f64,
    pub blocks: *const u32,
    pub indices: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CBlocks {
    pub count: usize,
    pub names: CStrings,
    pub layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CRows {
    pub count: usize,
    pub starts: *const usize,
    pub variables: *const u32,
    pub coefficients: *const f64,
    pub lower: *const f64,
    pub upper: *const f64,
    pub layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLists {
    pub count: usize,
    pub starts: *const usize,
    pub variables: *const u32,
    pub weights: *const f64,
    pub layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CIndicators {
    pub binaries: *const u32,
    pub active: *const u8,
    pub rows: CRows,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CQuadraticRows {
    pub rows: CRows,
    pub starts: *const usize,
    pub first: *const u32,
    pub second: *const u32,
    pub coefficients: *const f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CCones {
    pub count: usize,
    pub kinds: *const u8,
    pub starts: *const usize,
    pub members: CAffineFunctions,
    pub layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CAffineFunctions {
    pub count: usize,
    pub starts: *const usize,
    pub variables: *const u32,
    pub coefficients: *const f64,
    pub constants: *const f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CComplementarities {
    pub count: usize,
    pub first: *const u32,
    pub second: *const u32,
    pub layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CDefinitions {
    pub variables: *const u32,
    pub relations: *const u8,
    pub tapes: CTapes,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CTapes {
    pub count: usize,
    pub starts: *const usize,
    pub codes: *const u8,
    pub arguments: *const u32,
    pub constant_count: usize,
    pub constants: *const f64,
    pub layers: *const u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CTables {
    pub variables: CVariables,
    pub blocks: CBlocks,
    pub rows: CRows,
    pub sos1: CLists,
    pub indicators: CIndicators,
    pub quadratic: CQuadraticRows,
    pub cones: CCones,
    pub complementarities: CComplementarities,
    pub definitions: CDefinitions,
    pub expressions: CTapes,
    pub input_count: usize,
    pub inputs: *const u32,
    pub output_count: usize,
    pub outputs: *const u32,
    pub output_expressions: *const u32,
    pub output_lower: *const f64,
    pub output_upper: *const f64,
    pub layer_count: usize,
    pub layers: CStrings,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CInputs {
    pub count: usize,
    pub names: CStrings,
    pub is_integer: *const u8,
    pub has_shape: *const u8,
    pub shape_starts: *const usize,
    pub sizes: *const usize,
}

pub type Point = CSlice<f64>;

/// Declares the functions and finds them in the library.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        #[allow(non_snake_case)]
        #[allow(dead_code, reason = "the libtorch backend is opened where it is built")]
        pub struct Functions {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        pub static C: LazyLock<Functions> = LazyLock::new(|| {
            // SAFETY: the library runs no code when it is opened; it is never closed, so that its functions stay. The
            // header, which is current by a test of its own, declares them so.
            unsafe {
                let library: &'static Library = Box::leak(Box::new(Library::new(super::abi::library()).unwrap()));
                Functions { $($name: *library.get(stringify!($name).as_bytes()).unwrap(),)* }
            }
        });
    };
}

pub type Release = extern "C" fn(*mut c_void);

functions! {
    nt_last_error: fn() -> *const c_char;
    nt_libtorch_open: fn(*const c_char, *mut CLibtorch) -> i32;
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
    nt_function_compile_for:
        fn(*const CModel, CSlice<usize>, u32, *const c_char, *const c_char, *mut *mut CFunction) -> i32;
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
pub struct Foreign;

pub struct ForeignModel(pub *mut CModel);
pub struct ForeignValue(pub *mut CValue);
pub struct ForeignFunction(pub *mut CFunction);
pub struct ForeignWorkspace(pub *mut CWorkspace);
pub struct ForeignFormulation(pub *mut CFormulation);
pub struct ForeignBounds(pub *mut CBounds);

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

pub fn check(status: i32) -> Outcome<()> {
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
pub fn get<T>(call: impl FnOnce(*mut T) -> i32) -> Outcome<T> {
    let mut out = MaybeUninit::uninit();
    check(call(out.as_mut_ptr()))?;
    // SAFETY: a call that succeeds has written its result.
    Ok(unsafe { out.assume_init() })
}

/// What a constructor makes. It writes NULL where it fails.
pub fn made<T>(call: impl FnOnce(*mut *mut T) -> i32) -> Outcome<*mut T> {
    let mut out = std::ptr::dangling_mut();
    let outcome = check(call(&mut out));
    assert_eq!(outcome.is_err(), out.is_null());
    outcome.map(|()| out)
}

pub fn read<T>(values: &[T]) -> CSlice<T> {
    CSlice { data: values.as_ptr(), len: values.len() }
}

pub fn read_or_null<T>(values: Option<&[T]>) -> CSlice<T> {
    values.map_or(CSlice { data: std::ptr::null(), len: 0 }, read)
}

pub fn write(values: &mut [f64]) -> CSliceMut {
    CSliceMut { data: values.as_mut_ptr(), len: values.len() }
}

/// A copy of an array of a table whose handle lives.
pub fn array<T: Copy>(data: *const T, len: usize) -> Vec<T> {
    // SAFETY: the tables say how long their arrays are.
    unsafe { slice::from_raw_parts(data, len) }.to_vec()
}

/// A copy of the strings of a table whose handle lives.
pub fn strings(list: CStrings, count: usize) -> Vec<String> {
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
pub struct Loan {
    pub bytes: Vec<u8>,
    pub released: AtomicUsize,
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
pub fn opened<T>(
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
pub struct Tensors<'a> {
    pub root: &'a ForeignValue,
    pub table: CTensors,
    pub next: usize,
}

pub const KINDS: [&str; 13] =
    ["None", "bool", "int", "float", "str", "bytes", "list", "tuple", "set", "dict", "tensor", "module", "object"];

pub fn number(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string().to_lowercase()) }
}

pub fn integer(value: i128) -> Json {
    if value.abs() > 1 << 53 { json!(value.to_string()) } else { json!(value as i64) }
}

/// A value as `test/models/values.py` describes it.
pub fn described(value: &ForeignValue, tensors: &mut Tensors) -> Outcome<Json> {
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

pub fn described_tensor(tensors: &mut Tensors) -> Outcome<Json> {
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

pub fn tapes(tapes: CTapes) -> Tapes {
    let starts = array(tapes.starts, tapes.count + 1);
    let places = starts[tapes.count];
    Tapes {
        codes: array(tapes.codes, places),
        arguments: array(tapes.arguments, places),
        constants: array(tapes.constants, tapes.constant_count),
        starts,
    }
}

pub fn rows(rows: CRows) -> Rows {
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

pub fn lists(lists: CLists) -> Lists {
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
        let (shape, backend) = (read_or_null(shape), super::backend().as_ptr());
        let compile = |out| unsafe { (C.nt_function_compile_for)(self.0, shape, dtype, backend, c"cpu".as_ptr(), out) };
        made(compile).map(ForeignFunction)
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

pub fn order(order: Order) -> u32 {
    match order {
        Order::RowMajor => 0,
        Order::ColumnMajor => 1,
        Order::Pattern => 2,
    }
}

pub fn pattern(pattern: CPattern) -> Vec<(usize, usize)> {
    array(pattern.rows, pattern.count).into_iter().zip(array(pattern.columns, pattern.count)).collect()
}

pub fn values(values: CValues) -> Vec<(String, Vec<usize>)> {
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

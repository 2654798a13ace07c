//! Finding and opening the backend's library.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    path::{Path, PathBuf},
    ptr,
    sync::{Mutex, OnceLock, PoisonError},
};

use super::{
    Info,
    table::{TABLE_VERSION, Table},
};
use crate::{Error, Result, load::Parameter};

/// What the library is called.
const FILE: &str = "libnative_torch_libtorch.so";
const VARIABLE: &str = "NATIVE_TORCH_LIBTORCH";

/// How to get the backend.
const HOW: &str = "build it with `cargo build --release --manifest-path rust/libtorch/Cargo.toml`, where LIBTORCH names \
                   the folder of a libtorch 2.13.0, and let NATIVE_TORCH_LIBTORCH name the library; `cargo xtask \
                   libtorch` does both";

/// The library, open for ever.
pub struct Library {
    path: PathBuf,
    pub table: &'static Table,
}

impl Library {
    /// The library of this process, opened if it is not yet.
    pub fn get(path: Option<&Path>) -> Result<&'static Self> {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        static OPENING: Mutex<()> = Mutex::new(());
        let _one = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = LIBRARY.get() {
            return match path {
                Some(other) if !same(other, &library.path) => Err(Error::argument(format!(
                    "the libtorch backend {} is open already, so that {} cannot be; a process has one",
                    library.path.display(),
                    other.display()
                ))),
                _ => Ok(library),
            };
        }
        let path = match path {
            Some(path) => path.to_owned(),
            None => find()?,
        };
        let table = open(&path).map_err(|error| error.at(path.display()))?;
        Ok(LIBRARY.get_or_init(|| Library { path, table }))
    }

    pub fn info(&self) -> Info {
        // SAFETY: the table was checked, and its functions take nothing.
        #[allow(unsafe_code)]
        let cuda_devices = unsafe { (self.table.cuda_devices)() } as usize;
        Info { path: self.path.clone(), version: version(self.table.libtorch), cuda_devices }
    }

    /// The parameters of an operation of libtorch, if it has the operation.
    #[allow(unsafe_code)]
    pub fn operation(&self, name: &str) -> Option<Vec<Parameter>> {
        unsafe extern "C" fn push(context: *mut c_void, name: *const c_char, is_float: u32, is_keyword: u32) {
            // SAFETY: the context is the list below; the backend promises the name for this call.
            let (list, name) = unsafe { (&mut *context.cast::<Vec<Parameter>>(), CStr::from_ptr(name)) };
            let name = name.to_string_lossy().into_owned();
            list.push(Parameter { name, is_float: is_float != 0, is_keyword: is_keyword != 0 });
        }
        let name = CString::new(name).ok()?;
        let mut found: Vec<Parameter> = Vec::new();
        // SAFETY: `push` takes such a list, and the name ends with NUL.
        let known = unsafe { (self.table.operation)(name.as_ptr(), ptr::from_mut(&mut found).cast(), push) };
        (known != 0).then_some(found)
    }

    /// Why the last call of this thread failed.
    pub fn message(&self) -> String {
        // SAFETY: the message is text that is valid until this thread's next call.
        #[allow(unsafe_code)]
        let text = unsafe { CStr::from_ptr((self.table.message)()) };
        text.to_string_lossy().into_owned()
    }
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn version(packed: u32) -> String {
    format!("{}.{}.{}", packed >> 16 & 255, packed >> 8 & 255, packed & 255)
}

/// The library that is not named otherwise.
fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let program = std::env::current_exe().ok();
    let files = [own_file(), program].into_iter().flatten();
    let folders: Vec<PathBuf> = files.filter_map(|file| Some(file.parent()?.to_owned())).collect();
    let found = folders.iter().map(|folder| folder.join(FILE)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Error::unsupported(format!(
            "there is no libtorch backend: {VARIABLE} is not set, and {FILE} is not in {}; {HOW}",
            folders.join(" or ")
        ))
    })
}

#[cfg(unix)]
#[allow(unsafe_code)]
mod system {
    use std::{
        ffi::{CStr, CString, OsStr, c_void},
        mem::MaybeUninit,
        os::unix::ffi::OsStrExt,
        path::{Path, PathBuf},
    };

    use super::super::table::Table;

    /// The function that gives the table.
    const ENTRY: &CStr = c"native_torch_libtorch";

    /// The file that this code was loaded from.
    pub fn own_file() -> Option<PathBuf> {
        let mut info = MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: the address is that of a function of this file; `info` is read where it was written.
        let info = unsafe {
            if libc::dladdr(own_file as *const c_void, info.as_mut_ptr()) == 0 {
                return None;
            }
            info.assume_init()
        };
        if info.dli_fname.is_null() {
            return None;
        }
        // SAFETY: it is the name of a loaded file, which stays.
        let name = unsafe { CStr::from_ptr(info.dli_fname) };
        Path::new(OsStr::from_bytes(name.to_bytes())).canonicalize().ok()
    }

    fn last_error() -> String {
        // SAFETY: the text belongs to this thread until its next call of the loader.
        unsafe {
            let text = libc::dlerror();
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }

    /// The table of the library in a file.
    pub fn table(path: &Path) -> Result<&'static Table, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| "the path contains NUL".to_owned())?;
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        let flags = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_DEEPBIND;
        #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
        let flags = libc::RTLD_NOW | libc::RTLD_LOCAL;
        // SAFETY: the name ends with NUL. Opening runs the library's own initialisers, which is what the caller asked for
        // by naming it. It is never closed.
        let entry = unsafe {
            let library = libc::dlopen(name.as_ptr(), flags);
            if library.is_null() {
                return Err(last_error());
            }
            libc::dlsym(library, ENTRY.as_ptr())
        };
        if entry.is_null() {
            return Err(format!("it has no function {}: it is another library", ENTRY.to_string_lossy()));
        }
        // SAFETY: the function of this name takes nothing and returns a table that is valid for ever, in every version; of
        // the table, the caller reads the version first.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *const Table>(entry)().as_ref() }
            .ok_or_else(|| "it gave no table".to_owned())
    }
}

#[cfg(not(unix))]
mod system {
    use std::path::{Path, PathBuf};

    use super::super::table::Table;

    pub fn own_file() -> Option<PathBuf> {
        None
    }

    pub fn table(_: &Path) -> Result<&'static Table, String> {
        Err("the backend is there for Unix systems alone".to_owned())
    }
}

use system::own_file;

fn open(path: &Path) -> Result<&'static Table> {
    if !path.is_file() {
        return Err(Error::unsupported(format!("the libtorch backend is not there; {HOW}")));
    }
    let table = system::table(path).map_err(|reason| {
        let what = if reason.contains("undefined symbol") {
            "libtorch has another version than the 2.13.0 that the backend is built for; install that one, or build the \
             backend for yours"
        } else if reason.contains("cannot open shared object file") {
            "a library of libtorch 2.13.0 is missing: put it into the folder of the backend, or name its folder in \
             LD_LIBRARY_PATH; `cargo xtask libtorch` installs it"
        } else {
            HOW
        };
        Error::unsupported(format!("the libtorch backend does not load ({reason}); {what}"))
    })?;
    check(table)
}

fn check(table: &'static Table) -> Result<&'static Table> {
    if table.version != TABLE_VERSION {
        return Err(Error::unsupported(format!(
            "the libtorch backend speaks version {} of the interface, this library version {TABLE_VERSION}; {HOW}",
            table.version
        )));
    }
    if table.libtorch != table.built_for {
        return Err(Error::unsupported(format!(
            "the libtorch backend is built for libtorch {}, but libtorch {} is loaded; install the former",
            version(table.built_for),
            version(table.libtorch)
        )));
    }
    Ok(table)
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::{super::table, *};

    unsafe extern "C" fn message() -> *const c_char {
        c"".as_ptr()
    }
    unsafe extern "C" fn cuda_devices() -> u32 {
        0
    }
    unsafe extern "C" fn compile(_: *const table::Request) -> *mut c_void {
        std::ptr::null_mut()
    }
    unsafe extern "C" fn destroy(_: *mut c_void) {}
    unsafe extern "C" fn visit(_: *const c_void, _: *mut c_void, _: table::Visit) -> u32 {
        0
    }
    unsafe extern "C" fn operation(_: *const c_char, _: *mut c_void, _: table::VisitParameter) -> u32 {
        0
    }
    unsafe extern "C" fn call(
        _: *const c_void,
        _: u32,
        _: u32,
        _: u32,
        _: *const c_void,
        _: *const c_void,
        _: *const c_void,
        _: *mut c_void,
    ) -> u32 {
        0
    }

    fn table(version: u32, libtorch: u32) -> &'static Table {
        Box::leak(Box::new(Table {
            version,
            libtorch,
            built_for: 0x02_0d_00,
            message,
            cuda_devices,
            operation,
            compile,
            destroy,
            outputs: visit,
            parameters: visit,
            call,
        }))
    }

    #[test]
    fn other_versions_are_refused() {
        assert!(check(table(TABLE_VERSION, 0x02_0d_00)).is_ok());
        let old = check(table(TABLE_VERSION + 1, 0x02_0d_00)).err().unwrap();
        assert!(old.message().contains("version 4 of the interface"), "{old}");
        let other = check(table(TABLE_VERSION, 0x02_0c_01)).err().unwrap();
        assert!(other.message().contains("libtorch 2.13.0, but libtorch 2.12.1"), "{other}");
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        let missing = open(Path::new("/nowhere/libnative_torch_libtorch.so")).err().unwrap();
        assert!(missing.message().contains("NATIVE_TORCH_LIBTORCH"), "{missing}");
        let wrong =
            open(Path::new(file!()).canonicalize().as_deref().unwrap_or(Path::new("Cargo.toml"))).err().unwrap();
        assert!(wrong.message().contains("does not load"), "{wrong}");
    }
}

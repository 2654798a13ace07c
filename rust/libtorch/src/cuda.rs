//! CUDA devices, and CUDA graphs: what a repeated call launches on a device is recorded once, and launched as one from
//! then on.

use std::{
    ffi::{CStr, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard},
};

use libloading::{Library, Symbol};
use tch::{Cuda, Device, Tensor};

use crate::{
    function::{Failure, Give, Outcome, Part},
    table::kind,
};

#[path = "../cuda/src/table.rs"]
mod table;

/// How many kinds of calls there are.
const KINDS: usize = kind::PARAMETERS as usize + 1;

/// So many calls of a kind run as they are before one is recorded, which takes a few calls' time and the memory of one.
const CALLS: u32 = 2;

/// Set to 0, it has kernels launched one by one.
const VARIABLE: &str = "NATIVE_TORCH_CUDA_GRAPHS";

/// Held by every call on a CUDA device, and alone by one that records. libtorch gives a parameter one node of the graph of
/// derivatives, which belongs to the stream of whoever made it, so that another thread's derivatives would join what is
/// recorded; and a recording's kernels use workspaces that its stream's libraries have.
static RECORDING: RwLock<()> = RwLock::new(());

fn none_records() -> RwLockReadGuard<'static, ()> {
    RECORDING.read().unwrap_or_else(PoisonError::into_inner)
}

/// The CUDA devices. libtorch's CUDA part is a library of its own, which is opened here, where it is first asked for.
pub fn devices() -> u32 {
    static OPENED: OnceLock<Option<Library>> = OnceLock::new();
    // SAFETY: the library belongs to the libtorch that is loaded, and is found where that is. Where there is none, there
    // are no devices.
    OPENED.get_or_init(|| unsafe { Library::new("libtorch_cuda.so") }.ok());
    if Cuda::is_available() { u32::try_from(Cuda::device_count()).unwrap_or(0) } else { 0 }
}

/// What records, where it was built and is not refused.
fn library() -> Option<&'static table::Graphs> {
    static OPENED: OnceLock<Option<(Library, &'static table::Graphs)>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        if std::env::var_os(VARIABLE).is_some_and(|value| value == "0") {
            return None;
        }
        // SAFETY: it is built beside this library, and found where this one lies.
        let library = unsafe { Library::new("libnative_torch_cuda.so") }.ok()?;
        // SAFETY: the function is of this type, and what it gives is valid while the library is open, which is for ever.
        let table = unsafe {
            let give: Symbol<unsafe extern "C" fn() -> *const table::Graphs> =
                library.get(b"native_torch_cuda").ok()?;
            give().as_ref()?
        };
        Some((library, table))
    });
    opened.as_ref().map(|(_, table)| *table)
}

/// A function's calls on a CUDA device.
pub struct Graphs {
    library: &'static table::Graphs,
    device: i32,
    /// By their kind.
    calls: [Mutex<Calls>; KINDS],
}

enum Calls {
    /// So many were made.
    Counted(u32),
    Recorded(Recording),
    /// They cannot be recorded: they wait for the device to decide what to do, or copy what is not there.
    Refused,
}

struct Recording {
    library: &'static table::Graphs,
    graph: NonNull<c_void>,
    /// Where the recorded kernels read, and where they write.
    given: Vec<Tensor>,
    results: Vec<Part>,
}

// SAFETY: a graph belongs to no thread.
unsafe impl Send for Recording {}

impl Graphs {
    /// Those of a function on a CUDA device, where graphs can be recorded.
    pub fn on(device: Device) -> Option<Self> {
        let Device::Cuda(index) = device else { return None };
        let calls = std::array::from_fn(|_| Mutex::new(Calls::Counted(0)));
        Some(Self { library: library()?, device: i32::try_from(index).ok()?, calls })
    }

    /// Makes a call of a kind: computes of the numbers that are given, which `moved` brings to the device, and writes the
    /// parts.
    pub fn call(
        &self,
        what: u32,
        given: &[Tensor],
        moved: impl Fn() -> Outcome<Vec<Tensor>>,
        compute: impl Fn(&[Tensor], &mut Give) -> Outcome<()>,
        write: &mut Give,
    ) -> Outcome<()> {
        // A recording serves one thread at a time; the others need not wait for it.
        let Ok(mut calls) = self.calls[what as usize].try_lock() else {
            let _held = none_records();
            return compute(&moved()?, write);
        };
        match &mut *calls {
            Calls::Counted(count) if *count < CALLS => *count += 1,
            Calls::Counted(_) => {
                let _alone = RECORDING.write().unwrap_or_else(PoisonError::into_inner);
                *calls = self.record(moved()?, &compute).map_or(Calls::Refused, Calls::Recorded);
            }
            _ => {}
        }
        let _held = none_records();
        match &*calls {
            Calls::Recorded(recording) => recording.replay(given, write),
            _ => {
                drop(calls);
                compute(&moved()?, write)
            }
        }
    }

    fn record(&self, given: Vec<Tensor>, compute: impl Fn(&[Tensor], &mut Give) -> Outcome<()>) -> Option<Recording> {
        let mut results = Vec::new();
        let mut launch = || {
            results.clear();
            let keep = &mut |part: Part| {
                results.push(part);
                Ok(())
            };
            let done = catch_unwind(AssertUnwindSafe(|| compute(&given, keep))).is_ok_and(|done| done.is_ok());
            if !done {
                // They may lie in memory that is given back where a recording fails.
                results.clear();
            }
            done
        };
        let mut launch: &mut dyn FnMut() -> bool = &mut launch;
        // SAFETY: `run` takes such a context, which lives during the call.
        let graph = unsafe { (self.library.record)(self.device, run, (&raw mut launch).cast()) };
        Some(Recording { library: self.library, graph: NonNull::new(graph)?, given, results })
    }
}

unsafe extern "C" fn run(launch: *mut c_void) -> bool {
    // SAFETY: it is what `record` gives; it does not panic.
    unsafe { (*launch.cast::<&mut dyn FnMut() -> bool>())() }
}

impl Recording {
    fn replay(&self, given: &[Tensor], write: &mut Give) -> Outcome<()> {
        for (place, numbers) in self.given.iter().zip(given) {
            tch::no_grad(|| place.shallow_clone().f_copy_(numbers))?;
        }
        // SAFETY: the graph is a recording, and what it reads and writes is kept beside it.
        if !unsafe { (self.library.replay)(self.graph.as_ptr()) } {
            // SAFETY: the message of this thread is valid until its next failure.
            let message = unsafe { CStr::from_ptr((self.library.message)()) };
            return Err(Failure(message.to_string_lossy().trim().to_owned()));
        }
        self.results.iter().map(Part::again).try_for_each(write)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _held = none_records();
        // The graph gives back the memory in which they lie.
        self.results.clear();
        // SAFETY: it is used no more.
        unsafe { (self.library.destroy)(self.graph.as_ptr()) }
    }
}

//! libtorch's default precision, which is one for the whole process.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::cpp;

/// The precision of the calls that run now, and how many they are.
struct Running {
    is_double: bool,
    count: usize,
}

static RUNNING: Mutex<Running> = Mutex::new(Running { is_double: false, count: 0 });
static CHANGED: Condvar = Condvar::new();

/// Holds libtorch's default precision. Calls of one precision run side by side, those of the other wait.
pub struct Precision;

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Precision {
    /// Waits until the default can be this one.
    pub fn hold(is_double: bool) -> Self {
        let others = |running: &mut Running| running.count > 0 && running.is_double != is_double;
        let mut running = CHANGED.wait_while(running(), others).unwrap_or_else(PoisonError::into_inner);
        if running.is_double != is_double {
            cpp::set_default(is_double);
            running.is_double = is_double;
        }
        running.count += 1;
        Self
    }
}

impl Drop for Precision {
    fn drop(&mut self) {
        let mut running = running();
        running.count -= 1;
        if running.count == 0 {
            CHANGED.notify_all();
        }
    }
}

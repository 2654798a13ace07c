//! Running other programs.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

/// What a program printed, and whether it succeeded.
pub struct Finished {
    pub success: bool,
    /// The lines of its standard output.
    pub lines: Vec<String>,
}

/// Runs a program in the checkout's root, showing its output as it comes.
pub fn run(command: &mut Command) -> Finished {
    run_filtered(command, true)
}

/// Runs a program quietly; its standard output is kept, its standard error dropped.
pub fn capture(command: &mut Command) -> Finished {
    run_filtered(command.stderr(Stdio::null()), false)
}

fn run_filtered(command: &mut Command, show: bool) -> Finished {
    let mut child = match command.current_dir(crate::root()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            if show {
                println!("{}: {error}", command.get_program().to_string_lossy());
            }
            return Finished { success: false, lines: Vec::new() };
        }
    };
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if show {
            println!("{line}");
        }
        lines.push(line);
    }
    Finished { success: child.wait().is_ok_and(|status| status.success()), lines }
}

/// Whether a program can be started at all.
pub fn exists(program: &str) -> bool {
    capture(Command::new(program).arg("--version")).success
}

/// Whether a program can be started, whatever it thinks of `--version`.
pub fn starts(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

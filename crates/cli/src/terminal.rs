//! Terminal modes that are given back on every way out.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// A terminal in another mode; the former one returns when this is dropped.
#[derive(Debug)]
struct Changed<F: AsFd> {
    terminal: F,
    former: Termios,
}

impl<F: AsFd> Changed<F> {
    fn new(terminal: F, change: impl FnOnce(&mut Termios)) -> io::Result<Self> {
        let former = tcgetattr(&terminal)?;
        let mut mode = former.clone();
        change(&mut mode);
        // Drain, so that what was printed before is not affected.
        tcsetattr(&terminal, OptionalActions::Drain, &mode)?;
        Ok(Self { terminal, former })
    }
}

impl<F: AsFd> Drop for Changed<F> {
    fn drop(&mut self) {
        // Nothing is left to try if this fails: the terminal is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.former);
    }
}

/// Runs `work` while the terminal does not show what is typed.
///
/// # Errors
/// Those of changing the mode and of `work`.
fn without_echo<T>(terminal: impl AsFd, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _changed = Changed::new(terminal, |mode| mode.local_modes.remove(LocalModes::ECHO))?;
    work()
}

/// Asks for a line that is not shown; without a terminal, reads one from standard input.
///
/// # Errors
/// Those of reading, and of changing the terminal's mode.
pub fn secret(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        eprint!("{prompt}: ");
        io::stderr().flush()?;
        without_echo(&stdin, || stdin.lock().read_line(&mut line))?;
        eprintln!();
    } else {
        stdin.lock().read_line(&mut line)?;
    }
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// Asks for a new password, twice where somebody types it.
///
/// # Errors
/// As [`secret`], and when the two are not the same.
pub fn new_password() -> anyhow::Result<String> {
    let password = secret("New password")?;
    if io::stdin().is_terminal() && secret("Once more")? != password {
        return Err(Failure::new("the two passwords are not the same").into());
    }
    Ok(password)
}

/// Runs `work` while every key reaches it as bytes: no echo, no line editing, no signals.
///
/// # Errors
/// Those of changing the mode and of `work`.
pub fn raw<T>(terminal: impl AsFd, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let _changed = Changed::new(terminal, Termios::make_raw)?;
    work()
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    #[test]
    fn the_former_mode_returns_even_after_a_panic() {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap().into_string().unwrap();
        let terminal = std::fs::File::options()
            .read(true)
            .write(true)
            .open(name)
            .unwrap();
        let modes = || tcgetattr(&terminal).unwrap().local_modes;
        let before = modes();
        assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));
        raw(&terminal, || {
            assert!(!modes().intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
            Ok(())
        })
        .unwrap();
        assert_eq!(modes(), before);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            raw(&terminal, || -> anyhow::Result<()> { panic!("on purpose") })
        }));
        assert!(panicked.is_err());
        assert_eq!(modes(), before);
        without_echo(&terminal, || {
            assert!(modes().contains(LocalModes::ICANON) && !modes().contains(LocalModes::ECHO));
            Ok(())
        })
        .unwrap();
        assert_eq!(modes(), before);
    }
}

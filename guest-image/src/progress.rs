//! Telling a person how a download goes: bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::sync::Mutex;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Hears what a fetch does. Files are downloaded side by side, so calls for several files mix.
pub trait Progress: Sync {
    /// `file` is being fetched: `size` bytes, of which `have` were there from an earlier try.
    fn started(&self, file: &str, size: u64, have: u64);
    /// `bytes` more of `file` have arrived.
    fn advanced(&self, file: &str, bytes: u64);
    /// The server could not go on where we were: `file` starts from its first byte.
    fn restarted(&self, file: &str);
    /// `file` is complete and verified.
    fn finished(&self, file: &str);
    /// Something else worth a line, such as waiting for another process or a mirror that failed.
    fn note(&self, line: &str);
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn started(&self, _file: &str, _size: u64, _have: u64) {}
    fn advanced(&self, _file: &str, _bytes: u64) {}
    fn restarted(&self, _file: &str) {}
    fn finished(&self, _file: &str) {}
    fn note(&self, _line: &str) {}
}

/// One line when a file starts and one when it is there, for logs and pipes.
pub struct Lines<F> {
    say: F,
    sizes: Mutex<HashMap<String, u64>>,
}

impl<F: Fn(&str) + Sync> Lines<F> {
    /// Hands each line to `say`.
    pub fn new(say: F) -> Self {
        Self { say, sizes: Mutex::default() }
    }
}

impl<F: Fn(&str) + Sync> Progress for Lines<F> {
    fn started(&self, file: &str, size: u64, have: u64) {
        let known =
            self.sizes.lock().expect("nothing panics with it held").insert(file.into(), size);
        if known.is_some() {
            return;
        }
        let again =
            if have > 0 { format!(", {} here already", HumanBytes(have)) } else { String::new() };
        (self.say)(&format!("Fetching {file} ({}{again})", HumanBytes(size)));
    }
    fn advanced(&self, _file: &str, _bytes: u64) {}
    fn restarted(&self, _file: &str) {}
    fn finished(&self, file: &str) {
        (self.say)(&format!("{file} is here and verified"));
    }
    fn note(&self, line: &str) {
        (self.say)(line);
    }
}

/// A bar per file on standard error: size, rate and time left.
pub struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Default for Bars {
    fn default() -> Self {
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            bars: Mutex::default(),
        }
    }
}

impl Bars {
    fn with(&self, file: &str, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.bars.lock().expect("nothing panics with it held").get(file) {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn started(&self, file: &str, size: u64, have: u64) {
        let mut bars = self.bars.lock().expect("nothing panics with it held");
        let bar = bars.entry(file.into()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(size));
            let template = "{prefix:>14} {bar:28} {bytes:>11} of {total_bytes:<11} {bytes_per_sec:>12} {eta:>4}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(file.to_owned());
            bar
        });
        bar.set_position(have);
        // What was here before must not count as speed.
        bar.reset_eta();
    }
    fn advanced(&self, file: &str, bytes: u64) {
        self.with(file, |bar| bar.inc(bytes));
    }
    fn restarted(&self, file: &str) {
        self.with(file, |bar| bar.set_position(0));
    }
    fn finished(&self, file: &str) {
        self.with(file, ProgressBar::finish);
    }
    fn note(&self, line: &str) {
        // A terminal that is gone is no reason to stop a download.
        drop(self.all.println(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_two_lines_per_file() {
        let said = Mutex::new(Vec::new());
        let lines = Lines::new(|line: &str| said.lock().expect("whole").push(line.to_owned()));
        lines.started("root.erofs", 2048, 0);
        lines.advanced("root.erofs", 1024);
        lines.started("root.erofs", 2048, 1024);
        lines.finished("root.erofs");
        lines.started("initrd", 10, 4);
        assert_eq!(
            *said.lock().expect("whole"),
            [
                "Fetching root.erofs (2.00 KiB)",
                "root.erofs is here and verified",
                "Fetching initrd (10 B, 4 B here already)",
            ]
        );
    }
}

//! The only place that prints: steps and warnings to stderr, data to stdout, or all as CloudEvents.
//!
//! Human steps look as minikube's do, with signs where the terminal shows UTF-8 and with plain
//! `*`, `-`, `!`, `X` elsewhere or where `MINIK_IN_STYLE=false`. With `--output json` each step, info,
//! warning and error is one CloudEvents 1.0 line on stdout, in minikube's field names.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::report::Report;

/// How a command speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Sentences for people
    #[default]
    Text,
    /// One JSON document or event per line
    Json,
}

/// What a line is about; chooses its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Hello,
    Choose,
    Download,
    Machine,
    Node,
    Check,
    Done,
    Stop,
    Delete,
    Note,
}

impl Sign {
    fn text(self) -> &'static str {
        match self {
            Sign::Hello => "😄",
            Sign::Choose => "✨",
            Sign::Download => "💾",
            Sign::Machine => "🔥",
            Sign::Node => "🐳",
            Sign::Check => "🔎",
            Sign::Done => "🏄",
            Sign::Stop => "✋",
            Sign::Delete => "💀",
            Sign::Note => "💡",
        }
    }
}

/// Where a command's words go.
#[derive(Debug)]
pub(crate) struct Out {
    json: AtomicBool,
    styled: bool,
    verbose: AtomicBool,
    events: AtomicU32,
    lock: Mutex<()>,
}

impl Out {
    pub(crate) fn new(env: &dyn Fn(&str) -> Option<String>) -> Out {
        let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| env(name).filter(|v| !v.is_empty()))
            .is_some_and(|v| v.to_uppercase().replace('-', "").contains("UTF8"));
        let styled = match env("MINIK_IN_STYLE").as_deref() {
            Some("false" | "0" | "no") => false,
            Some(_) => true,
            None => utf8 && std::io::stderr().is_terminal(),
        };
        Out {
            json: AtomicBool::new(false),
            styled,
            verbose: AtomicBool::new(false),
            events: AtomicU32::new(0),
            lock: Mutex::new(()),
        }
    }

    /// Chooses between sentences and events; called once the command line is known.
    pub(crate) fn set_format(&self, format: Format) {
        self.json.store(format == Format::Json, Ordering::Relaxed);
    }

    pub(crate) fn set_verbose(&self, verbose: bool) {
        self.verbose.store(verbose, Ordering::Relaxed);
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json.load(Ordering::Relaxed)
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose.load(Ordering::Relaxed)
    }

    /// One line of data on stdout.
    pub(crate) fn data(&self, line: impl AsRef<str>) {
        self.write(&mut std::io::stdout(), line.as_ref());
    }

    /// A step of something that goes on: `name` is what events call it.
    pub(crate) fn step(&self, sign: Sign, name: &str, number: usize, of: usize, message: &str) {
        if self.is_json() {
            self.event(
                "step",
                &json!({
                    "name": name,
                    "message": message,
                    "currentstep": number.to_string(),
                    "totalsteps": of.to_string(),
                }),
            );
        } else {
            self.say(sign, message);
        }
    }

    /// A sentence that is no step.
    pub(crate) fn info(&self, sign: Sign, message: &str) {
        if self.is_json() {
            self.event("info", &json!({ "message": message }));
        } else {
            self.say(sign, message);
        }
    }

    /// Shown only with `-v`.
    pub(crate) fn detail(&self, message: &str) {
        if self.is_json() {
            return;
        }
        if self.is_verbose() {
            let bullet = if self.styled { "    ▪ " } else { "  - " };
            self.write(&mut std::io::stderr(), &format!("{bullet}{message}"));
        }
    }

    pub(crate) fn warning(&self, message: &str) {
        if self.is_json() {
            self.event("warning", &json!({ "message": message }));
        } else {
            let sign = if self.styled { "❗  " } else { "! " };
            self.write(&mut std::io::stderr(), &format!("{sign}{message}"));
        }
    }

    /// Any other event; nothing in text.
    pub(crate) fn only_event(&self, kind: &str, data: &Value) {
        if self.is_json() {
            self.event(kind, data);
        }
    }

    /// The last words of a command that failed.
    pub(crate) fn error(&self, report: &Report) {
        if report.silent {
            return;
        }
        if self.is_json() {
            self.event(
                "error",
                &json!({
                    "advice": report.advice.join("\n"),
                    "exitcode": report.exit.0.to_string(),
                    "issues": "",
                    "message": report.message,
                    "name": report.id,
                    "url": "",
                }),
            );
            return;
        }
        let (cross, hint) = if self.styled { ("❌  ", "💡  ") } else { ("X ", "* ") };
        let mut err = std::io::stderr();
        self.write(&mut err, &format!("{cross}Exiting due to {}: {}", report.id, report.message));
        for advice in &report.advice {
            self.write(&mut err, &format!("{hint}Suggestion: {advice}"));
        }
    }

    fn say(&self, sign: Sign, message: &str) {
        let line = if self.styled {
            format!("{}  {message}", sign.text())
        } else {
            format!("* {message}")
        };
        self.write(&mut std::io::stderr(), &line);
    }

    fn event(&self, kind: &str, data: &Value) {
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        let event = event(kind, std::process::id(), number, data);
        self.write(&mut std::io::stdout(), &event.to_string());
    }

    fn write(&self, to: &mut dyn std::io::Write, line: &str) {
        let _whole_lines = self.lock.lock();
        // A closed pipe is the reader's choice; there is nobody left to tell.
        let _ = writeln!(to, "{line}");
        let _ = to.flush();
    }
}

/// One CloudEvents 1.0 document with minikube's type names, so that its consumers read ours.
fn event(kind: &str, process: u32, number: u32, data: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": format!("{process}-{number}"),
        "source": "https://minikube.sigs.k8s.io/",
        "type": format!("io.k8s.sigs.minikube.{kind}"),
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// The text that a terminal would show: without its control sequences (ECMA-48) and characters.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        match one {
            '\u{1b}' => match rest.next() {
                // Ends at the first character from `@` on.
                Some('[') => drop(rest.find(|c| matches!(c, '@'..='~'))),
                // Ends with a bell or the string terminator, `ESC \`.
                Some(']') => {
                    if rest.find(|c| matches!(c, '\u{7}' | '\u{1b}')) == Some('\u{1b}') {
                        rest.next();
                    }
                }
                // All others are one character longer.
                Some(_) | None => {}
            },
            '\n' | '\t' => shown.push(one),
            _ if one.is_control() => {}
            _ => shown.push(one),
        }
    }
    shown
}

/// Columns with two spaces between them, as `kubectl` prints them.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_carry_minikubes_names() {
        let event = event("step", 7, 3, &json!({ "name": "Done" }));
        assert_eq!(event["type"], "io.k8s.sigs.minikube.step");
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], "7-3");
        assert_eq!(event["data"]["name"], "Done");
    }

    #[test]
    fn what_moves_the_cursor_is_not_shown() {
        assert_eq!(
            plain("\u{1b}c\u{1b}[?7l\u{1b}[0;1mminik\u{1b}[0m: up\r\n\tover\u{7}"),
            "minik: up\n\tover"
        );
        assert_eq!(plain("\u{1b}]104\u{7}a\u{1b}]0;title\u{1b}\\b"), "ab");
        assert_eq!(plain("cut off \u{1b}[0"), "cut off ");
    }

    #[test]
    fn columns_align_and_end_without_blanks() {
        let rows = vec![vec!["minik".to_owned(), "qemu".to_owned()]];
        assert_eq!(table(&["PROFILE", "DRIVER"], &rows), "PROFILE  DRIVER\nminik    qemu");
    }
}

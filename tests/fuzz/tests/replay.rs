//! Every kept input through its target, and some made of them: cut off, and with bytes changed.

use std::path::{Path, PathBuf};

use minik_fuzz::{TARGETS, Target};

/// Changed inputs per kept one. Few: `make fuzz` is there for more.
const CHANGED: u64 = 12;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = std::fs::read_dir(&folder).expect("each target has inputs").flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("an input"))).collect()
}

/// Says which input it was, which the target does not know.
struct Trying(String);

impl Drop for Trying {
    #[expect(clippy::print_stderr, reason = "what fails is named")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: {}", self.0);
        }
    }
}

fn replay(name: &str, target: Target) {
    let inputs = corpus(name);
    assert!(!inputs.is_empty(), "{name} has no inputs");
    for (path, input) in inputs {
        let _trying = Trying(path.display().to_string());
        target(&input);
        let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ input.len() as u64;
        for _ in 0..CHANGED {
            let changed = change(&input, &mut state);
            let _trying = Trying(format!("{:?}", String::from_utf8_lossy(&changed)));
            target(&changed);
        }
    }
}

/// The input cut off, or with a byte changed, put in or taken out; the same in every run.
fn change(input: &[u8], state: &mut u64) -> Vec<u8> {
    let mut next = |below: usize| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state % below.max(1) as u64) as usize
    };
    let mut changed = input.to_vec();
    let at = next(input.len());
    let byte = b"{}[]\",:0-.$\\\n\xff\x00a"[next(16)];
    match next(5) {
        0 => changed.truncate(at),
        1 => changed.insert(at, byte),
        2 if at < changed.len() => drop(changed.remove(at)),
        3 => {
            let end = (at + 1 + next(20)).min(changed.len());
            let piece = changed[at..end].to_vec();
            changed.splice(at..at, piece);
        }
        _ if at < changed.len() => changed[at] = byte,
        _ => {}
    }
    changed
}

/// A test for each target, and none forgotten.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name), minik_fuzz::$name);
        })*

        #[test]
        fn all_targets_are_replayed() {
            let here = [$(stringify!($name)),*];
            let there: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(here.as_slice(), there);
        }
    };
}

targets!(apply cel decode definition patch path protobuf quantity selector spdy store);

//! The power button, which hypervisors press to stop a guest politely, and the way down.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, on_file};

/// `struct input_event` on a 64-bit machine: 16 bytes of time, type, code, value.
const EVENT_BYTES: usize = 24;
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;

/// Loads the drivers and opens the button's event device; `None` where the machine has no button.
pub(crate) fn button() -> Option<File> {
    // A machine without the drivers' hardware is one without a button.
    drop(Command::new("/usr/sbin/modprobe").args(["-q", "-a", "button", "evdev"]).status());
    let entries = fs::read_dir("/sys/class/input").ok()?;
    for entry in entries.flatten() {
        let name = fs::read_to_string(entry.path().join("device/name")).unwrap_or_default();
        let file_name = entry.file_name();
        if name.trim() == "Power Button" && file_name.to_string_lossy().starts_with("event") {
            return File::open(Path::new("/dev/input").join(file_name)).ok();
        }
    }
    None
}

/// Reads what happened; whether the button went down.
pub(crate) fn was_pressed(button: &mut File) -> bool {
    let mut events = [0; EVENT_BYTES * 16];
    let Ok(length) = button.read(&mut events) else { return false };
    events[..length].chunks_exact(EVENT_BYTES).any(is_press)
}

fn is_press(event: &[u8]) -> bool {
    let half = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    half(16) == EV_KEY && half(18) == KEY_POWER && event[20] == 1
}

/// Asks systemd to stop everything and switch off; comes back at once.
pub(crate) fn off() -> Result<(), Error> {
    let status = Command::new("/usr/bin/systemctl")
        .args(["poweroff", "--no-block"])
        .stdin(Stdio::null())
        .status()
        .map_err(on_file("run", "/usr/bin/systemctl"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program { program: "systemctl poweroff".into(), said: status.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_power_key_going_down_counts() {
        let event = |kind: u16, code: u16, value: u8| {
            let mut bytes = vec![0_u8; 16];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend([value, 0, 0, 0]);
            bytes
        };
        assert!(is_press(&event(EV_KEY, KEY_POWER, 1)));
        assert!(!is_press(&event(EV_KEY, KEY_POWER, 0)));
        assert!(!is_press(&event(EV_KEY, 30, 1)));
        assert!(!is_press(&event(0, 0, 0)));
    }
}

//! minik-qemu: machines on QEMU, with KVM where it works and with emulation where it does not.
//!
//! No process supervises a machine: QEMU runs in the background, and what must be remembered about
//! it is in the machine's folder (`files`). Reading order: `machine` (the verbs), `command_line`
//! (what QEMU is told), `trial` and `engine` (what runs the guest's instructions), then the ways
//! to talk: `monitor` (to QEMU), `agent` (to the guest), `tap`, `switch` and `forwards` (the
//! network).

mod agent;
mod binary;
mod command_line;
mod disk;
mod engine;
mod files;
mod forwards;
mod launch;
mod machine;
mod monitor;
mod network;
mod record;
mod switch;
mod tap;
mod trial;
mod version;

pub use command_line::{Engine, Launch, command_line};
pub use machine::{QemuConfig, QemuDriver};
pub use version::{OLDEST, QemuVersion, SOUND_EMULATION};

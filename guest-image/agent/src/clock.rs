//! Sets the clock: a guest without a battery clock, or one frozen as a template, wakes up in the past.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::error::{Error, on_system};

/// Moves the clock forward to `unix_ms` when it is behind. A seed is written before the boot that reads it, so a
/// clock that is ahead of it is the better one.
pub(crate) fn not_before(unix_ms: i64) -> Result<(), Error> {
    let Ok(unix_ms) = u64::try_from(unix_ms) else {
        return Err(Error::SeedContent(format!("{unix_ms} is not a time")));
    };
    let wanted = Duration::from_millis(unix_ms);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now >= wanted {
        return Ok(());
    }
    let time = Timespec {
        tv_sec: i64::try_from(wanted.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(wanted.subsec_nanos()),
    };
    clock_settime(ClockId::Realtime, time).map_err(on_system("set the clock"))
}

//! The guest image, verified, and remembered as the one this cluster boots.

use crate::error::Result;
use crate::report::Outcome;
use crate::work::Work;

pub(crate) fn run(work: &mut Work<'_>) -> Result<Outcome> {
    let image = work.tools.images.boot(&work.profile.spec.image)?;
    let outcome = if image.fetched { Outcome::Changed } else { Outcome::Unchanged };
    let pinned = &mut work.profile.spec.image.pinned;
    if pinned.as_ref() != Some(&image.id) {
        if pinned.is_some() {
            work.tools.reporter.info("The cluster boots another guest image from now on");
        }
        *pinned = Some(image.id.clone());
        work.profile.save()?;
    }
    work.image = Some(image);
    Ok(outcome)
}

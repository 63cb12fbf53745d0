//! A pack is handed to every room, and refused whole if any of them refuses it.

use platform::{PackError, PackFiles};

/// Everything any room finds wrong with a pack.
#[must_use]
pub fn validate(pack: &PackFiles) -> Vec<PackError> {
    let mut errors = pack.validate();
    // Without a manifest that reads there is nothing for the rooms to look at.
    if errors.is_empty() {
        errors.extend(watch::validate(pack));
        errors.extend(work::validate(pack));
    }
    errors
}

//! Who goes to the canary, and how many instances it has.

use crate::limits::WEIGHT_MAX;

/// Whether a key belongs to the canary at this weight, in hundredths of a percent. `hash` is that of tenant, app, the
/// rollout's salt and the key, each with its length before it. Raising the weight never takes anybody back.
pub fn is_canary(hash: u64, weight: u16) -> bool {
    let bucket = (u128::from(hash) * u128::from(WEIGHT_MAX)) >> 64;
    bucket < u128::from(weight)
}

/// Instances of canary and stable release, out of so many together: the canary's share rounded up, and at least one of
/// whatever has traffic. (Argo Rollouts, without surge)
pub fn instances(total: u32, weight: u16) -> (u32, u32) {
    let weight = u64::from(weight.min(WEIGHT_MAX));
    let share = (u64::from(total) * weight).div_ceil(u64::from(WEIGHT_MAX));
    let canary = u32::try_from(share).unwrap_or(total).min(total);
    let canary = if weight < u64::from(WEIGHT_MAX) && total > 1 {
        canary.min(total - 1)
    } else {
        canary
    };
    (canary, total - canary)
}

//! A hash that is the same on every host and in every version: device names and MAC addresses are
//! made from it, so it must never change.

/// FNV-1a over the parts, each ended by a zero byte so that `["a", "bc"]` differs from `["ab", "c"]`.
pub fn stable_hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_fixed_for_ever_and_keeps_parts_apart() {
        assert_eq!(stable_hash(&["minik"]), 0x4df4_b2be_7c1d_6c39);
        assert_ne!(stable_hash(&["a", "bc"]), stable_hash(&["ab", "c"]));
    }
}

//! Names that Kubernetes makes up: template hashes, random suffixes, uids.

use parking_lot::Mutex;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use tombolo_kube::Codec as _;

/// Letters and digits that cannot form words, the alphabet of Kubernetes' generated names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Letters of a generated suffix (`front-7d7bc9458f-g2hnx`).
const SUFFIX: usize = 5;

/// Where made-up names come from. Not a secret source: names need to differ, not to be unguessable.
#[derive(Debug)]
pub struct Entropy(Mutex<fastrand::Rng>);

impl Entropy {
    /// A source that repeats itself for the same seed, so that a failing test can be run again.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// A source that differs from process to process.
    pub fn from_process() -> Self {
        Self(Mutex::new(fastrand::Rng::new()))
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        self.0.lock().u64(..)
    }

    /// A number below `bound`; zero for a bound of zero.
    pub fn below(&self, bound: usize) -> usize {
        match u64::try_from(bound) {
            Ok(bound) if bound > 0 => usize::try_from(self.next() % bound).unwrap_or(0),
            _ => 0,
        }
    }

    /// The random end of a pod's name.
    pub fn suffix(&self) -> String {
        (0..SUFFIX)
            .map(|_| char::from(ALPHABET[self.below(ALPHABET.len())]))
            .collect()
    }

    /// A version 4 uid.
    pub fn uid(&self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0x0fff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }
}

/// The `pod-template-hash` of a template: equal templates give equal hashes.
///
/// Kubernetes hashes a Go dump of the template, which nobody can repeat; ours hashes its JSON and spells
/// the result in the same alphabet.
pub fn template_hash(template: &PodTemplateSpec) -> String {
    let text = template.to_json().to_string();
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash.to_string()
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_templates_hash_equally_and_others_differ() {
        let mut template = PodTemplateSpec::default();
        let plain = template_hash(&template);
        assert_eq!(plain, template_hash(&PodTemplateSpec::default()));
        template.metadata = Some(Default::default());
        assert_ne!(plain, template_hash(&template));
        assert!(plain.bytes().all(|letter| ALPHABET.contains(&letter)));
    }

    #[test]
    fn suffixes_are_five_letters_and_uids_are_version_four() {
        let entropy = Entropy::seeded(7);
        let suffix = entropy.suffix();
        assert_eq!(suffix.len(), SUFFIX);
        assert_ne!(suffix, entropy.suffix());
        let uid = entropy.uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.as_bytes()[14], b'4');
        assert!(matches!(uid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}

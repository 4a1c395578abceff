//! Generated names: template hashes, random suffixes, uids.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use parking_lot::Mutex;
use tombolo_kube::Codec;

/// Letters and digits that cannot form words, the alphabet of Kubernetes' generated names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Letters of a generated suffix (`front-7d7bc9458f-g2hnx`).
const SUFFIX: usize = 5;

/// Generates names and uids. They need to differ, not to be unguessable.
#[derive(Debug, Default)]
pub(crate) struct NameGenerator(Mutex<fastrand::Rng>);

impl NameGenerator {
    /// A generator whose names and uids follow from the seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// The random end of a pod's name.
    pub(crate) fn suffix(&self) -> String {
        let mut random = self.0.lock();
        let letters = (0..SUFFIX).map(|_| ALPHABET[random.usize(..ALPHABET.len())]);
        letters.map(char::from).collect()
    }

    /// A version 4 uid.
    pub(crate) fn uid(&self) -> String {
        let mut random = self.0.lock();
        let (high, low) = (random.u64(..), random.u64(..));
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
/// Kubernetes hashes a Go dump of the template, which cannot be reproduced; this hashes its JSON and spells
/// the result in the same alphabet.
pub(crate) fn template_hash(template: &PodTemplateSpec) -> String {
    let text = template.to_json().to_string();
    let digits = fnv1a(text.bytes()).to_string();
    let letters = digits
        .bytes()
        .map(|digit| ALPHABET[usize::from(digit) % ALPHABET.len()]);
    letters.map(char::from).collect()
}

/// The 32-bit FNV-1a hash.
pub(crate) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
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
        let names = NameGenerator::seeded(7);
        let suffix = names.suffix();
        assert_eq!(suffix.len(), SUFFIX);
        assert_ne!(suffix, names.suffix());
        let uid = names.uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.as_bytes()[14], b'4');
        assert!(matches!(uid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}

use super::mentions;

#[test]
fn a_name_is_found_in_a_reason_only_as_a_whole() {
    for (reason, name, found) in [
        (
            "Error adding/updating listener(s) front: no such filter",
            "front",
            true,
        ),
        (
            "Error adding/updating listener(s) front: no such filter",
            "fro",
            false,
        ),
        ("unknown cluster 'a-b'", "a", false),
        ("unknown cluster 'a-b'", "a-b", true),
        ("a", "a", true),
        ("a", "", false),
        ("é", "e", false),
    ] {
        assert_eq!(mentions(reason, name), found, "{name:?} in {reason:?}");
    }
}

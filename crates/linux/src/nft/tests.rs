use super::attribute::{Attributes, each, find};
use super::*;

#[test]
fn attributes_are_padded_and_found_again() {
    let attributes = Attributes::new()
        .bytes(7, &[1, 2, 3])
        .text(8, "ab")
        .u32(9, 5);
    assert_eq!(attributes.as_bytes().len(), 8 + 8 + 8);
    assert_eq!(find(attributes.as_bytes(), 7), Some(&[1, 2, 3][..]));
    assert_eq!(find(attributes.as_bytes(), 8), Some(&b"ab\0"[..]));
    assert_eq!(find(attributes.as_bytes(), 9), Some(&[0, 0, 0, 5][..]));
    assert_eq!(find(attributes.as_bytes(), 10), None);
}

#[test]
fn malformed_attributes_end_the_list() {
    for bytes in [
        &[0, 0][..],
        &[0, 0, 1, 0],
        &[3, 0, 1, 0],
        &[9, 0, 1, 0, 1, 1, 1, 1],
        &[255; 40],
    ] {
        assert_eq!(each(bytes).count(), 0, "{bytes:?}");
    }
    let mut cut = Attributes::new().u32(1, 1).u32(2, 2).as_bytes().to_vec();
    cut.truncate(cut.len() - 1);
    assert_eq!(each(&cut).count(), 1);
}

#[test]
fn a_counted_element_is_read_from_either_form() {
    let counter = Attributes::new()
        .text(1, "counter")
        .nested(2, &Attributes::new().bytes(2, &9_u64.to_be_bytes()));
    let key = Attributes::new().bytes(1, &[6, 0, 0, 0]);
    let single = Attributes::new().nested(1, &key).nested(7, &counter);
    let listed = Attributes::new()
        .nested(1, &key)
        .nested(11, &Attributes::new().nested(1, &counter));
    for element in [single, listed] {
        let list = Attributes::new().nested(3, &Attributes::new().nested(1, &element));
        let expected = CountedElement {
            key: vec![6, 0, 0, 0],
            packets: 9,
        };
        assert_eq!(set::elements(&payload(2, 0, &list)), [expected]);
    }
    assert_eq!(set::elements(&[2]), []);
}

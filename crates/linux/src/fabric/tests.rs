use super::*;

#[test]
fn a_range_drops_the_bits_beyond_its_prefix() {
    let range: Ipv4Range = "10.1.2.3/16".parse().expect("a range");
    assert_eq!(range.to_string(), "10.1.0.0/16");
    assert!(range.contains(Ipv4Addr::new(10, 1, 255, 255)));
    assert!(!range.contains(Ipv4Addr::new(10, 2, 0, 0)));
    let all: Ipv4Range = "1.2.3.4/0".parse().expect("a range");
    assert!(all.contains(Ipv4Addr::BROADCAST));
}

#[test]
fn a_range_that_is_none_is_refused() {
    for text in [
        "",
        "10.0.0.0/33",
        "10.0.0/8",
        "10.0.0.0/",
        "::/0",
        "10.0.0.0/-1",
    ] {
        let error = text.parse::<Ipv4Range>().expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    }
}

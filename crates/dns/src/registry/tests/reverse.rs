//! From addresses back to names.

use super::*;

#[test]
fn addresses_lead_back_to_names() {
    let changing = Changing::new();
    let mut sample = Sample::new();
    let expect = |sample: &Sample, name: &str, expected: &str| {
        let answer = changing.ask(sample, name, RecordType::PTR);
        assert_eq!(answer, expected, "{name}");
    };
    let (v4, other, v6) = (
        "1.0.0.10.in-addr.arpa",
        "2.0.0.10.in-addr.arpa",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
    );
    expect(&sample, v4, "not mine");
    sample
        .private("n")
        .service("web@n", &[Published::A], None)
        .service("_a._tcp@n", &[Published::SRV], None)
        .service("api@n", &[], None)
        .v4("web@n", "i", "10.0.0.1")
        .v4("web@n", "j", "10.0.0.1")
        .v4("api@n", "i", "10.0.0.1");
    expect(&sample, v4, "PTR web.n. 30");
    assert_eq!(changing.ask(&sample, v4, RecordType::A), "nodata 15");
    expect(&sample, other, "not mine");
    let both = [
        ("AWS_INSTANCE_IPV4", "10.0.0.1"),
        ("AWS_INSTANCE_IPV6", "fd00::1"),
        ("AWS_INSTANCE_PORT", "80"),
    ];
    sample.instance("_a._tcp@n", "k", &both, Health::Unhealthy);
    expect(&sample, v6, "PTR k._a._tcp.n. 30");
    expect(&sample, v4, "PTR k._a._tcp.n. 30, PTR web.n. 30");
    // Moves, goes; and a service that is made anew starts anew.
    sample.v4("web@n", "i", "10.0.0.2").remove("web@n", "j");
    expect(&sample, v4, "PTR k._a._tcp.n. 30");
    expect(&sample, other, "PTR web.n. 30");
    sample.service("web@n", &[Published::AAAA], None);
    expect(&sample, other, "PTR web.n. 30");
    sample.remove("web@n", "i").remove("_a._tcp@n", "k");
    expect(&sample, other, "not mine");
    expect(&sample, v6, "not mine");
    for index in 0..20 {
        let at = format!("many{index}@n");
        sample
            .service(&at, &[Published::A], None)
            .v4(&at, "i", "10.0.0.9");
    }
    let many = changing.ask(&sample, "9.0.0.10.in-addr.arpa", RecordType::PTR);
    assert_eq!(many.split(", ").count(), 8, "{many}");
}

#[test]
fn instance_ids_of_every_shape_have_names() {
    let mut sample = Sample::new();
    sample.private("n").service("s@n", &[Published::SRV], None);
    let long = "a".repeat(64);
    for (index, id) in ["a/b:c@d", "Web-1", "..", "x.", &long]
        .into_iter()
        .enumerate()
    {
        let address = format!("10.0.0.{index}");
        let attributes = [("AWS_INSTANCE_IPV4", &*address), ("AWS_INSTANCE_PORT", "1")];
        sample.healthy("s@n", id, &attributes);
    }
    let probe = Probe::new(sample.registry(Config::default()));
    let service = probe.message(&question("s.n", RecordType::SRV));
    let answers = service.expect("an answer").answers;
    assert_eq!(
        answers.len(),
        4,
        "all but the one that is too long for a label"
    );
    for record in answers {
        let RData::SRV(srv) = record.data else {
            panic!("not SRV")
        };
        let mut asked = question("x", RecordType::A);
        asked.queries[0].name = srv.target.to_lowercase();
        let address = probe.message(&asked).expect("an answer");
        assert_eq!(address.answers.len(), 1, "{}", srv.target);
    }
}

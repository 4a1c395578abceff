use std::time::Duration;

use super::*;

#[test]
fn ages_read_as_kubectl_writes_them() {
    for (seconds, text) in [
        (0, "0s"),
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (20_820, "5h47m"),
        (28_799, "7h59m"),
        (28_800, "8h"),
        (46_800, "13h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ] {
        assert_eq!(age(Duration::from_secs(seconds)), text, "{seconds} s");
    }
}

#[test]
fn columns_line_up_and_missing_cells_say_so() {
    let mut table = Table::new(["NAME", "READY", "STATUS", "AGE"]);
    table.push(["front-7d4b9c-x2x", "3/3", "Running", "3m10s"]);
    table.push(["b", "0/3", ""]);
    assert_eq!(
        table.to_string(),
        "NAME               READY   STATUS    AGE\n\
         front-7d4b9c-x2x   3/3     Running   3m10s\n\
         b                  0/3     <none>    <none>\n"
    );
    assert!(table.without_header().to_string().starts_with("front"));
}

#[test]
fn a_cell_of_a_stranger_is_one_bounded_line_without_control_characters() {
    let mut table = Table::new(["PROXY", "STATE"]);
    table.push([&"x".repeat(70_000), "a\u{1b}[2J\nb"]);
    table.push(["b", "c"]);
    let text = table.to_string();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[1].ends_with("…   a\\u{1b}[2J\\nb"), "{text}");
    assert!(rows[1].chars().count() < 2 * MAX_CELL, "{text}");
}

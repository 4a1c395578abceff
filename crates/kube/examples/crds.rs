//! Prints the CustomResourceDefinitions of the seven kinds; `cargo xtask crds` writes them into the chart.

fn main() {
    print!("{}", tombolo_kube::crd::definitions_yaml());
}

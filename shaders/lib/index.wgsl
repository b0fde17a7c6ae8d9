// Where an invocation stands. A dispatch dimension holds at most 65,535 workgroups, so the host spreads a
// linear count of groups over x and y, and the kernel folds them back together.

fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// The matrices of a 16 x 16 x 16 matrix unit: f16 operands, f32 sums. WGSL has no names for their shapes.
alias UnitA = coop_mat16x16<f16, A>;
alias UnitB = coop_mat16x16<f16, B>;
alias UnitC = coop_mat16x16<f32, C>;

// The matrices of an 8 x 8 x 8 matrix unit: f16 operands, f32 sums. WGSL has no names for their shapes.
alias UnitA = coop_mat8x8<f16, A>;
alias UnitB = coop_mat8x8<f16, B>;
alias UnitC = coop_mat8x8<f32, C>;

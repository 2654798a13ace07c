# MathOptAI's page on PyTorch: its program, with this package in the place of MathOptAI and PythonCall.

module Page

using JuMP, Test
import NativeTorch as MathOptAI

import ..fixture_path, ..Ipopt, ..HiGHS

const DIR = fixture_path("jump")
const FILE = joinpath(DIR, "page.pt")

struct CustomPredictor <: MathOptAI.AbstractPredictor
    p::MathOptAI.Pipeline
end

function MathOptAI.add_predictor(
    model::JuMP.AbstractModel,
    predictor::CustomPredictor,
    x::Vector;
    kwargs...,
)
    y, formulation = MathOptAI.add_predictor(model, predictor.p, x; kwargs...)
    @assert length(x) == length(y)
    return y .+ x, formulation
end

@testset "The page" begin
    predictor = MathOptAI.PytorchModel(FILE)

    model = Model();
    @variable(model, x[1:1]);
    y, formulation = MathOptAI.add_predictor(model, predictor, x);
    @test length(y) == 1 && length(formulation.layers) == 3
    @test sprint(show, formulation) isa String

    model = Model();
    @variable(model, x[1:1]);
    y, formulation = MathOptAI.add_predictor(model, predictor, x; reduced_space = true);
    @test y isa Vector{NonlinearExpr}
    @test num_variables(model) == 1

    model = Model();
    @variable(model, x[1:1]);
    y, formulation = MathOptAI.add_predictor(model, predictor, x; gray_box = true);
    @test length(formulation.constraints) == 1

    model = Model();
    @variable(model, x[1:1]);
    y, formulation = MathOptAI.add_predictor(
        model,
        predictor,
        x;
        config = Dict(:ReLU => MathOptAI.ReLUSOS1),
    );
    @test num_constraints(model, Vector{VariableRef}, MOI.SOS1{Float64}) == 2

    filename = joinpath(DIR, "skip.pt")
    model = Model();
    @variable(model, x[i in 1:3]);
    predictor = MathOptAI.PytorchModel(filename)
    function skip_callback(layer; input_size, kwargs...)
        return CustomPredictor(MathOptAI.build_predictor(layer.inner))
    end
    config = Dict("custom_model.Skip" => skip_callback)
    y, formulation = MathOptAI.add_predictor(model, predictor, x; config);
    @test length(y) == 3
    @test num_constraints(model, NonlinearExpr, MOI.EqualTo{Float64}) == 3
end

@testset "Its tutorial on fitting a function" begin
    m = MathOptAI.load(FILE)
    model = Model(Ipopt.Optimizer)
    set_silent(model)
    @variable(model, x)
    predictor = MathOptAI.PytorchModel(FILE)
    y, _ = MathOptAI.add_predictor(model, predictor, [x])
    @objective(model, Min, only(y))
    @constraint(model, c, x == 0.0)
    for xi in -2:0.5:2
        set_normalized_rhs(c, xi)
        optimize!(model)
        @test is_solved_and_feasible(model)
        @test objective_value(model) ≈ only(m([xi])) atol = 1e-5
    end
end

@testset "The big-M of its tests" begin
    m = MathOptAI.load(FILE)
    model = Model(HiGHS.Optimizer)
    set_silent(model)
    @variable(model, x[1:1])
    config = Dict(:ReLU => () -> MathOptAI.ReLUBigM(100))
    y, _ = MathOptAI.add_predictor(model, MathOptAI.PytorchModel(FILE), x; config)
    optimize!(model)
    @test is_solved_and_feasible(model)
    @test value.(y) ≈ m(value.(x)) atol = 1e-5
end

end # module

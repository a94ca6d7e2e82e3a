"""A kind of model for the tests: a line through how full one channel is, and the whole image."""

from pydantic import Field
from torch import nn
from torchmetrics.aggregation import MeanMetric

from atompaint_vae.models.kind import Kind, Metric
from atompaint_vae.models.objective import Objective
from atompaint_vae.text.typed import Float, Int, TextModel


class ToyModel(TextModel):
    channel: Int = Field(0, ge=0, lt=6, description="The channel that is looked at.")
    teacher: str = Field("", description="A run whose line is added to this one's.")


class ToyLoss(TextModel):
    jitter: Float = Field(0.1, ge=0, description="Noise that is added to the target.")


class Line(nn.Module):
    def __init__(self, channel, teacher):
        super().__init__()
        self.channel, self.teacher, self.line = channel, teacher, nn.Linear(1, 1)
        self.image_shape = (6, 11, 11, 11)

    def forward(self, images):
        guess = self.line(images[:, self.channel].mean((1, 2, 3)).unsqueeze(1))[:, 0]
        return guess + self.teacher(images) if self.teacher else guess


class ToyObjective(Objective):
    @classmethod
    def build_model(cls, hparams, *, image_std=1.0, inputs=None):
        return Line(hparams.model.channel, (inputs or {}).get("teacher"))

    def calc_losses(self, inputs, noise, step):
        target = inputs.mean((1, 2, 3, 4))
        target = target + self.hparams.loss.jitter * noise.draw_normal(target, "jitter")
        return {"gap": (self.model(inputs) - target).square().mean()}

    def begin_held_out(self, test=None):
        self.accuracy = MeanMetric()

    def add_held_out(self, inputs, noise):
        errors = (self.model(inputs) - inputs.mean((1, 2, 3, 4))).abs()
        self.accuracy.update((-errors).exp())

    def calc_metrics(self):
        return {"accuracy": self.accuracy.compute().item()}


KIND = Kind(
    name="toy", model=ToyModel, loss=ToyLoss, objective="toy_kind:ToyObjective", losses=("gap",),
    best=Metric("accuracy", "accuracy", "higher"), inputs=("teacher",),
)  # fmt: skip

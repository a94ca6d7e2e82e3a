"""Two processes with half of the batch each train the same model as one with all of it."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from e3nn.o3 import Irreps
from torch.nn.parallel import DistributedDataParallel

from atompaint_vae.nn import FieldNonlinearity, IrrepsNorm, SteerableConv

NUM_STEPS = 5


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.nonlinearity = FieldNonlinearity(
            "2x0e+1x1e+1xfourier1", grid="octahedral_48", function="elu"
        )
        self.conv = SteerableConv(Irreps("2x0e"), self.nonlinearity.irreps_in, padding=1)
        self.norm = IrrepsNorm(self.conv.irreps_out)
        self.head = SteerableConv(self.nonlinearity.irreps_out, Irreps("2x0e"), padding=1)

    def forward(self, image):
        between = self.conv(image)
        return self.head(self.nonlinearity(between, *self.norm.calc_affine(between)))


def train(model, images):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for step in range(NUM_STEPS):
        loss = (model(images[step]) - images[step]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def make_images():
    generator = torch.Generator().manual_seed(1)
    # Halves of different scale: statistics of one half alone would be far off.
    images = torch.randn(NUM_STEPS, 8, 2, 4, 4, 4, generator=generator)
    images[:, 4:] *= 3
    return images


def work(rank, path, results):
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = DistributedDataParallel(Network())
    losses = train(model, make_images()[:, 4 * rank : 4 * rank + 4])
    results[rank] = (losses, {k: v.clone() for k, v in model.module.state_dict().items()})
    dist.destroy_process_group()


def test_two_processes_train_what_one_does(tmp_path):
    with mp.Manager() as manager:
        results = manager.dict()
        arguments = tmp_path / "store", results
        mp.start_processes(work, arguments, nprocs=2, start_method="fork")
        (losses_0, state_0), (losses_1, state_1) = results[0], results[1]
    torch.manual_seed(0)
    network = Network()
    losses = train(network, make_images())
    assert torch.allclose((losses_0 + losses_1) / 2, losses, atol=1e-5, rtol=1e-5)
    for name, value in network.state_dict().items():
        assert torch.equal(state_0[name], state_1[name]), name
        assert torch.allclose(state_0[name], value, atol=1e-5), name


def test_the_test_would_see_statistics_that_are_not_shared():
    images = make_images()
    torch.manual_seed(0)
    whole = train(Network(), images)
    torch.manual_seed(0)
    half = train(Network(), images[:, :4])
    assert not torch.allclose(whole, half, rtol=0.01)

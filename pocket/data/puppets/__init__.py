"""Cut-out puppets: people and animals built from parts, with identity, clothes, pose, face and look as parameters.

A puppet is drawn with everything known exactly: joints, part mask, layer order, line art, captions.
"""

from pocket.data.puppets.draw import JOINTS, PuppetPicture, render
from pocket.data.puppets.identity import Garment, Puppet, random_puppet
from pocket.data.puppets.poses import NAMED, Pose, mirrored, named_pose, random_pose
from pocket.data.puppets.raster import PARTS

__all__ = [
    "JOINTS", "NAMED", "PARTS", "Garment", "Pose", "Puppet", "PuppetPicture", "mirrored", "named_pose",
    "random_pose", "random_puppet", "render",
]  # fmt: skip

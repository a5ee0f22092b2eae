"""Inputs that several adapters have in common; each adds its own."""

from nipype.interfaces.base import BaseInterfaceInputSpec, File, traits

from mbseg_bids.contrasts import CONTRASTS


class ContrastsInputSpec(BaseInterfaceInputSpec):
    """What detection looks at: contrasts, mask and tissue on the detection grid."""

    t2star = File(exists=True, mandatory=True, desc="T2*, detection grid, 0-100")
    t2w = File(exists=True, desc="T2w, detection grid, 0-100; a channel of zeros where missing")
    t1w = File(exists=True, desc="T1w, detection grid, 0-100; a channel of zeros where missing")
    brain = File(exists=True, mandatory=True, desc="brain mask, detection grid")
    tissue = File(exists=True, mandatory=True, desc="three-class tissue segmentation, detection grid")
    settings = traits.Dict(mandatory=True, desc="fields of DetectionSettings")


class LabelsInputSpec(BaseInterfaceInputSpec):
    """Labels on the detection grid, and the image whose grid they are to be brought to."""

    t2star = File(exists=True, mandatory=True, desc="T2* as acquired: its grid and header are those of the results")
    candidates = File(exists=True, mandatory=True, desc="labels of all candidates, detection grid")
    survivors = File(exists=True, mandatory=True, desc="labels of what passed the ratio rule, detection grid")


class AnatomyInputSpec(BaseInterfaceInputSpec):
    """The image that the anatomy is found on."""

    anat = File(exists=True, mandatory=True, desc="anatomical image, bias corrected")
    contrast = traits.Enum(*CONTRASTS, usedefault=True, desc="what it shows")
    brain = File(exists=True, mandatory=True, desc="its brain mask")


class AnatToT2starInputSpec(BaseInterfaceInputSpec):
    """The way from the anatomical image to T2*."""

    anat_to_t2star = File(exists=True, desc="4 x 4 text: anatomical points to T2* points; none if the image is T2*")

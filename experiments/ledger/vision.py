"""Claims 48 to 54: vision and language. The systems are there (docs/vision.md); none of these claims has seeds yet."""

from ledger.claim import Claim

REASON = ("The systems are there (docs/vision.md, experiments/vision_table.py), and a row takes about 40 minutes of a "
          "core for each seed; no runs over seeds are committed.")
CLAIMS = [
    *(Claim(number=number, statement=statement, source=source, corrected=corrected, core=False, testable=True,
            reason=REASON)
      for number, statement, source, corrected in (
        (48, "InfoNCE depends on large batches; the sigmoid loss works at smaller ones.",
         "Zhai et al. 2023, arXiv 2303.15343", ""),
        (49, "Conditioning the image representation on the text improves zero-shot transfer over CLIP and SigLIP.",
         "Lavoie et al. 2024, arXiv 2405.00740",
         "The often quoted 76.2 % on ImageNet is that of CLIP ViT-L/14 at 336 pixels, not of a ResNet-101."),
        (50, "Masked objectives in both modalities help when pairs are few.",
         "Singh et al. 2021, arXiv 2112.04482; Kwon et al. 2022, arXiv 2208.02131",
         "FLAVA joins the modalities by self-attention over both sequences together."),
        (51, "Adding a captioning loss to the contrastive one helps both.", "Yu et al. 2022, arXiv 2205.01917", ""),
        (52, "Generative classifiers are more robust and compose better than dual towers, at much higher cost.",
         "Jaini et al. 2023, arXiv 2309.16779", ""),
        (53, "A frozen language model can see through a small trained connector; two stages beat one.",
         "Li et al. 2023, arXiv 2301.12597", ""),
        (54, "Contrastive and auto-encoding losses are distortions, masking and augmentation set the rate.",
         "reference list of the sources", "CM3Leon's objective is causally masked, not plain next-token prediction.")))]

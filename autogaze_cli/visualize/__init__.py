"""Cell rectangles, masks, panels, the interframe compositor, PSNR and ratios."""
